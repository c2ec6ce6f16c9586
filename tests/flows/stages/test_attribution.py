"""Whose music a model was trained on, in homes whose marks are written by hand."""

from pathlib import Path

from flows.stages.attribution import SYNTHESISED, trained_on
from flows.stages.lineage import LineageGraph
from pipelines.licences import PUBLISHED
from storage.config import Json
from storage.home.layout import ATTRIBUTION, Home
from storage.home.marks import Mark, Work, commit
from storage.manifests import write_rows, write_table
from storage.records import Attribution, StemSong, TrainedOn


def made(home: Home, stage: str, config: Json, facts: Json | None = None, **inputs: Mark) -> Mark:
    """Commit a stage whose one output is unlike all others."""
    path = home.root / stage / "made.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{stage} {config}")
    work = Work(stage, 1, config, {name: mark.digest for name, mark in inputs.items()})
    return commit(home, work, {"made": path}, facts or {}, 0)


def counted(home: Home, version: int = 3) -> Mark:
    """Commit a census; an earlier release's listed no tracks."""
    rows = [
        Attribution(
            artist="A", title=split, licence="CC BY", track=f"00000{number}", split=split,
            source=f"fma.zip: {number}.mp3",
        )
        for number, split in enumerate(("training", "validation", "test"))
    ]  # fmt: skip
    index, listed = home.root / "fma" / "index.json", home.root / "fma" / ATTRIBUTION
    index.parent.mkdir(parents=True, exist_ok=True)
    index.write_text("{}")
    write_table(listed, Attribution, rows)
    outputs = {"index.json": index, **({ATTRIBUTION: listed} if version > 2 else {})}
    work = Work("census", version, {"archive": "fma.zip"}, {})
    return commit(home, work, outputs, {}, 0, about=[ATTRIBUTION])


def unpacked(home: Home, config: Json, **inputs: Mark) -> Mark:
    songs = home.root / "musdb" / "songs.jsonl"
    splits: tuple[tuple[str, str], ...] = (
        ("A - B", "train"),
        ("C", "validation"),
        ("D - E", "test"),
    )
    write_rows(
        songs,
        [
            StemSong.model_validate(
                {"name": name, "split": split, "folder": "x", "frames": 1, "sample_rate": 44_100}
            )
            for name, split in splits
        ],
    )
    work = Work("unpack-musdb", 1, config, {name: mark.digest for name, mark in inputs.items()})
    return commit(home, work, {"songs.jsonl": songs}, {}, 0)


def test_tracks_and_songs_that_led_to_a_model_are_named(tmp_path: Path) -> None:
    home = Home(tmp_path)
    census = counted(home)
    foundation = made(home, "train", {"of": "tracks"}, index=census)
    check = made(home, "check-archive", {}, {"archive": "songs.zip"})
    songs = unpacked(home, {}, musdb=check)
    tuned = made(home, "train", {"of": "songs"}, model=foundation, songs=songs)
    graph = LineageGraph(home)
    rows = trained_on(graph, tuned, {}).rows
    assert [(row.use, row.track, row.split) for row in rows] == [
        ("pre-training", "000000", "training"),
        ("pre-training", "000001", "validation"),
        ("fine-tuning", "A - B", "train"),
        ("fine-tuning", "C", "validation"),
    ]
    assert [(row.artist, row.title) for row in rows[2:]] == [("A", "B"), ("", "C")]
    assert {row.licence for row in rows[2:]} == {PUBLISHED["musdb18hq"]}
    assert rows[2].source == "songs.zip: A - B"
    assert {row.use for row in trained_on(graph, foundation, {}).rows} == {"pre-training"}


def test_a_licence_is_the_one_that_is_stated_or_that_of_the_source(tmp_path: Path) -> None:
    folder = unpacked(home := Home(tmp_path / "folder"), {"source": "folder"})
    for musdb, licence in (({"licence": "CC0"}, "CC0"), ({}, "")):
        rows = trained_on(LineageGraph(home), folder, {"musdb": musdb}).rows
        assert {row.licence for row in rows} == {licence}
    moises = unpacked(home := Home(tmp_path / "moises"), {"source": "moisesdb"})
    rows = trained_on(LineageGraph(home), moises, {"musdb": {"archive": "m.zip"}}).rows
    assert {row.licence for row in rows} == {PUBLISHED["moisesdb"]}
    assert rows[0].source == "m.zip: A - B"
    home = Home(tmp_path / "made")
    songs = unpacked(home, {}, corpora=made(home, "synthesise", {}))
    assert {row.licence for row in trained_on(LineageGraph(home), songs, {}).rows} == {SYNTHESISED}


def test_the_list_of_a_later_census_of_the_same_shards_serves(tmp_path: Path) -> None:
    home = Home(tmp_path)
    model = made(home, "train", {}, index=counted(home, version=2))
    found = trained_on(LineageGraph(home), model, {})
    assert (found.rows, found.unknown) == ([], ["fma.zip"])
    counted(home)
    found = trained_on(LineageGraph(home), model, {})
    assert (len(found.rows), found.unknown) == (2, [])


def test_what_a_given_model_brings_is_named_too(tmp_path: Path) -> None:
    home, label = Home(tmp_path), f"model/{ATTRIBUTION}"
    explanation, listed = tmp_path / "models" / "model.json", tmp_path / "models" / ATTRIBUTION
    explanation.parent.mkdir()
    explanation.write_text("{}")
    row = TrainedOn(
        artist="A", title="T", licence="CC0", track="1", split="train", source="x: 1",
        use="fine-tuning",
    )  # fmt: skip
    write_table(listed, TrainedOn, [row])
    work, outputs = Work("check-model", 1, {}, {}), {"model/model.json": explanation, label: listed}
    given = commit(home, work, outputs, {}, 0, about=[label])
    tuned = made(home, "train", {}, model=given)
    assert trained_on(LineageGraph(home), tuned, {}).rows == [row]

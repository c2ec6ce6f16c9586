"""The page: complete, self-contained, escaped, the same twice."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

from storage.audio.waveforms import encode
from storage.errors import ManifestError
from storage.files import write_json
from storage.manifests import write_rows
from storage.records import ChannelMap, SongScore, plain
from training.report import Curve, Lineage, Material, Row, write_report
from training.report.stems import STEM_COLUMNS

RATE = 22_050
VOID = {"meta", "img", "br", "link", "input"}
SONG = "<script>alert(1)</script> & \"x'"
"""A name that would leave both an element and an attribute of either quote."""


class Page(HTMLParser):
    """What a browser would see: every tag closed, every address, every word."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.anchors: list[str] = []
        self.attributes: set[tuple[str, str]] = set()
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.attributes |= {(tag, name) for name, _ in attrs}
        for name, value in attrs:
            if name in {"src", "href", "xlink:href", "srcset", "action", "data", "poster"}:
                self.addresses.append(value or "")
            if name == "id":
                self.anchors.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def excerpts(folder: Path, songs: list[str], seconds: float = 0.5) -> Path:
    """Write tones as excerpts of each song."""
    time = np.arange(int(seconds * RATE)) / RATE
    listed = []
    for number, song in enumerate(songs):
        (folder / str(number)).mkdir(parents=True)
        names = ["mixture", *STEM_COLUMNS, *(f"{stem}-reference" for stem in STEM_COLUMNS)]
        for pitch, name in enumerate(names, 2):
            tone = (0.1 * np.sin(2 * np.pi * 110 * pitch * time)).astype(np.float32)
            path = folder / str(number) / f"{name}.flac"
            path.write_bytes(encode(np.stack([tone, tone / 2]), RATE))
        listed.append({"song": song, "folder": str(number)})
    write_json(folder / "excerpts.json", listed)
    return folder


def score_rows(path: Path, gain: float) -> Path:
    """Write scores of two songs; one stem of the second is undefined."""
    rows = [
        SongScore(
            song=song,
            stem=stem,
            usdr=None if (song, stem) == ("Plain", "other") else gain + number,
            usdr_mdx21=gain,
            csdr=None,
            usdr_trivial=1.0,
        )
        for song in (SONG, "Plain")
        for number, stem in enumerate(STEM_COLUMNS)
    ]
    write_rows(path, rows)
    return path


def metrics(path: Path) -> Path:
    """Write a short run's log."""
    rows: list[dict[str, object]] = [
        {"kind": "train", "step": step, "loss": -step / 10} for step in range(30)
    ]
    rows.append({"kind": "validation", "step": 20, "loss": -1.5})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def channels(path: Path) -> Path:
    """Write a channel map of five outputs."""
    found = ChannelMap(
        stems=("bass", "drums", "vocals", "other"),
        channels=(2, 0, 1, 4),
        votes=((0, 1, 7, 0, 2), (10, 0, 0, 0, 0), (1, 9, 0, 0, 0), (0, 0, 0, 4, 6)),
        chunks=10,
    )
    write_json(path, plain(found))
    return path


def census(path: Path) -> Path:
    """Write a census, with a key that the report does not know."""
    counted = {
        "tracks_in": 17,
        "kept": 10,
        "filtered": {"rate_below_44100": 2, "too_short": 2},
        "quarantined": {"empty": 1, "not_audio": 1, "truncated": 1},
        "clips": 109,
        "hours": 0.25,
        "tracks": {"000002": 25, "000005": 22},
        "further": {"key": 1},
    }
    write_json(path, counted)
    return path


LINEAGE = (
    Lineage(stage="pack", key="a" * 20, digest="1" * 20, seconds=75, facts={}, inputs={}),
    Lineage(
        stage="pretrain",
        key="b" * 20,
        digest="2" * 20,
        seconds=3700,
        facts={"steps": 8000, "loss": -9.123456, "nested": {"x": 1}},
        inputs={"index": "1" * 20},
    ),
)


def material(root: Path) -> Material:
    """Return a small study with every part."""
    rows = (
        Row(
            name="MixIT, then fine-tuning",
            scores=score_rows(root / "a.jsonl", 3.0),
            excerpts=excerpts(root / "a", [SONG]),
        ),
        Row(
            name="from scratch",
            scores=score_rows(root / "b.jsonl", 1.0),
            excerpts=excerpts(root / "b", [SONG, "Plain"]),
        ),
    )
    return Material(
        title="Demo & <more>",
        study={"name": "demo", "model": {"width": 128, "betas": [0.9, 0.99]}, "none": None},
        rows=rows,
        curves=(Curve(name="pre-training", metrics=metrics(root / "metrics.jsonl")),),
        census=census(root / "census.json"),
        channels=channels(root / "channels.json"),
        lineage=LINEAGE,
    )


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a full page, written twice and found the same."""
    root = tmp_path_factory.mktemp("report")
    given = material(root)
    write_report(given, root / "first.html")
    write_report(given, root / "second.html")
    assert (root / "first.html").read_bytes() == (root / "second.html").read_bytes()
    return (root / "first.html").read_text()


def test_the_page_needs_no_other_file(text: str) -> None:
    page = Page(text)
    assert page.open == []
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_links_inside_the_page_lead_somewhere(text: str) -> None:
    page = Page(text)
    inside = [address[1:] for address in page.addresses if address.startswith("#")]
    clips = re.findall(r"url\(#([^)]*)\)", text)
    assert {*inside, *clips} <= set(page.anchors)
    assert len(page.anchors) == len(set(page.anchors))


def test_text_is_escaped(text: str) -> None:
    assert "<script" not in text
    assert SONG in Page(text).words
    assert "<title>Demo &amp; &lt;more&gt; – Stemworks</title>" in text


def hostile(root: Path) -> Material:
    """Return a study in which every name and value from outside is `SONG`."""
    nasty = score_rows(root / "scores.jsonl", 3.0)
    rows = [
        json.loads(line) | {"stem": SONG, "residual": 0.5}
        for line in nasty.read_text().splitlines()
    ]
    write_rows(nasty, [SongScore.model_validate(row) for row in rows])
    write_json(root / "census.json", {"kept": 1, "filtered": {SONG: 1}})
    votes = {"stems": [SONG], "channels": [0], "votes": [[1]], "chunks": 1}
    write_json(root / "channels.json", votes)
    stage = Lineage(
        stage=SONG, key=SONG, digest=SONG, seconds=1, facts={SONG: SONG}, inputs={SONG: SONG}
    )
    listed = excerpts(root / "sounds", [SONG])
    for reference in ("", "-reference"):
        kept = listed / "0" / f"{STEM_COLUMNS[0]}{reference}.flac"
        kept.rename(listed / "0" / f"other{reference}.flac")
    return Material(
        title=SONG,
        study={
            SONG: {SONG: [SONG]},
            "stems": [SONG],
            "finetuning": {"model": {"kind": SONG, SONG: 1}},
        },
        rows=(Row(name=SONG, scores=nasty, excerpts=listed),) * 2,
        curves=(Curve(name=SONG, metrics=metrics(root / "metrics.jsonl")),),
        census=root / "census.json",
        channels=root / "channels.json",
        lineage=(stage,),
        stems=(SONG, "other"),
    )


def test_no_name_from_outside_is_ever_markup(tmp_path: Path, text: str) -> None:
    """As many tags, and the same ones, as of harmless names; every attribute whole."""
    material = hostile(tmp_path)
    write_report(material, tmp_path / "page.html")
    found = (tmp_path / "page.html").read_text()
    page = Page(found)
    assert page.open == []
    assert "<script" not in found
    assert set(page.tags) <= set(Page(text).tags)
    # Title, scores, legend, songs, players, curves, votes, census, card, stages, recipe.
    assert page.words.count(SONG) > 40
    assert page.attributes <= Page(text).attributes, "a name has left its attribute"


def test_the_page_says_what_was_found(text: str) -> None:
    words = Page(text).words
    for expected in (
        "MixIT, then fine-tuning: uSDR 4.50 dB against 1.00 dB for mixture / 4",
        "MixIT, then fine-tuning against from scratch: +2.00 dB uSDR, on 2 songs.",
        "So few songs are an illustration",
        "not comparable to a demo",
        "Every track is accounted for: 17 in = 10 kept + 4 filtered + 3 quarantined.",
        "rate below 44100",
        "best validation loss −1.50 at step 20",
        "steps 8,000, loss -9.123",
        "1 h 02 min",
        "betas",
        "0.9, 0.99",
        "mixture / 4",
        "9.46",
        "–",
    ):
        assert expected in words


def test_the_chosen_outputs_are_marked(text: str) -> None:
    assert text.count('class="chosen"') == 4
    assert 'class="chosen" title="7 of 10 chunks"' in text


def test_excerpts_can_be_heard(text: str) -> None:
    found = re.findall(r'src="data:audio/flac;base64,([^"]*)"', text)
    # Two songs: each the mixture, four references and four estimates of each model that has them.
    assert len(found) == 13 + 9
    sound, rate = soundfile.read(io.BytesIO(base64.b64decode(found[0])))
    assert rate == RATE
    assert sound.shape == (RATE // 2, 2)
    assert text.count("data:image/png;base64,") == len(found)


def test_nothing_yet_still_makes_a_page(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    given = Material(
        title="Nothing yet",
        study={},
        rows=(Row(name="ours", scores=nowhere, excerpts=nowhere),),
        curves=(Curve(name="run", metrics=nowhere),),
        census=nowhere,
        channels=nowhere,
    )
    write_report(given, tmp_path / "full.html")
    write_report(Material(title="Empty", study={}), tmp_path / "empty.html")
    for name in ("full.html", "empty.html"):
        page = Page((tmp_path / name).read_text())
        assert page.open == []
        assert "No song has been scored yet." in page.words
    assert "ours: no uSDR to compare with" in Page((tmp_path / "full.html").read_text()).words


def test_single_points_and_scores_without_the_trivial_estimate_are_drawn(tmp_path: Path) -> None:
    write_rows(
        tmp_path / "one.jsonl",
        [SongScore(song="x", stem="bass", usdr=2.0, usdr_mdx21=None, csdr=None)],
    )
    (tmp_path / "one-step.jsonl").write_text('{"kind": "train", "step": 1, "loss": 2}\n')
    given = Material(
        title="One",
        study={},
        rows=(Row(name="ours", scores=tmp_path / "one.jsonl"),),
        curves=(Curve(name="run", metrics=tmp_path / "one-step.jsonl"),),
    )
    write_report(given, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().count("<svg") == 5


def test_a_study_of_other_stems(tmp_path: Path) -> None:
    stems = ("vocals", "rest")
    rows = [
        SongScore(
            song="x", stem=stem, usdr=4.0, usdr_mdx21=4.0, csdr=5.0, usdr_trivial=1.0, si_sdr=2.0
        )
        for stem in stems
    ]
    write_rows(tmp_path / "scores.jsonl", rows)
    votes = {"stems": stems, "channels": [1, 0], "votes": [[0, 1], [1, 0]], "chunks": 1}
    write_json(tmp_path / "channels.json", votes)
    folder = excerpts(tmp_path / "sounds", ["x"])
    for kind in ("", "-reference"):
        (folder / "0" / f"bass{kind}.flac").rename(folder / "0" / f"rest{kind}.flac")
    given = Material(
        title="Two stems",
        study={"finetuning": {}, "stems": list(stems)},
        rows=(Row(name="ours", scores=tmp_path / "scores.jsonl", excerpts=folder),),
        channels=tmp_path / "channels.json",
    )
    write_report(given, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    page = Page(text)
    assert page.open == []
    assert "ours: uSDR 4.00 dB against 1.00 dB for mixture / 2" in page.words
    assert "into vocals and rest, at 44.1 kHz" in page.words
    assert "[batch, 2, 2, samples] out, the stems in the order vocals, rest" in page.words
    assert "Drums" not in page.words
    assert "BS-Locoformer" not in page.words, "the published table is of four stems"
    assert text.count("var(--stem-1)") > text.count("var(--stem-2)") == 0
    assert text.count("data:audio/flac") == 1 + 2 * 2
    assert text.count("<svg") == 2


def test_a_file_that_is_something_else_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "bad.json", [1])
    for part in ("census", "channels"):
        given = Material.model_validate({"title": "", "study": {}, part: tmp_path / "bad.json"})
        with pytest.raises(ManifestError, match=r"bad\.json"):
            write_report(given, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_census_that_does_not_add_up_is_reported(tmp_path: Path) -> None:
    write_json(tmp_path / "census.json", {"tracks_in": 5, "kept": 3})
    given = Material(title="", study={}, census=tmp_path / "census.json")
    write_report(given, tmp_path / "page.html")
    assert "The sums do not agree: 5 in" in (tmp_path / "page.html").read_text()

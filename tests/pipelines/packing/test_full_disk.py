"""Packing on a disk that is really full, whatever meets the wall: an error, then the same."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.archives.sources import Fetcher, Source
from pipelines.packing.census import take_census
from pipelines.packing.pack import _pack_once
from pipelines.packing.process_track import process_track
from pipelines.packing.unit_work import PackRequest, corpus_key
from pipelines.tracks.fma import read_tracks
from pipelines.tracks.plan import make_plan, write_plan
from pipelines.workers.isolation import Isolated
from storage.files import clear_remains
from storage.home.layout import Home
from tests.pipelines.packing.corpora import CONFIG, begin, source_of
from tests.range_server import RangeServer
from tests.small_disk import on_small_disks, small_disk, survives
from tests.synthesised import Archives, fma_songs, write_fma, write_zip

MB = 1 << 20
SMALL_SHARDS = CONFIG.override(["unit_tracks=9", "shards.max_bytes=700000"])


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    return write_fma(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    songs = {name: fma_songs()[name] for name in ("000003", "000004", "133297")}
    return write_fma(tmp_path_factory.mktemp("few"), songs)


@pytest.fixture(scope="module")
def sources(few: Archives) -> Iterator[dict[str, Source]]:
    with RangeServer({"a.zip": few.archive}) as server:
        here = source_of(few.archive)
        yield {"local": here, "remote": here.model_copy(update={"location": server.url("a.zip")})}


@pytest.mark.parametrize(("where", "form"), [("local", "clips"), ("remote", "segments")])
@on_small_disks
def test_packing_survives_a_full_disk(
    tmp_path: Path, few: Archives, sources: dict[str, Source], where: str, form: str
) -> None:
    config = SMALL_SHARDS.override([f"shards.storage={form}"])
    plan = make_plan(read_tracks(*few), config)

    def pack(folder: Path) -> None:
        home = Home(folder)
        corpus = home.corpus("fma", corpus_key(plan, config))
        spelled = home.relative(corpus.root)
        request = PackRequest(home.url, spelled, sources[where], plan.units[0], config)
        with Fetcher(request.source) as fetcher:
            _pack_once(request, fetcher, child)
        # When and by whom it was packed is another each time.
        for mark in (folder / "marks").rglob("*.json"):
            mark.unlink()

    with (
        small_disk(tmp_path / "disk", 48 * MB) as disk,
        # One for all: it is to be fit for use after each failure, too.
        Isolated(process_track, config.memory_mb) as child,
    ):
        said = survives(disk, pack, steps=3, pages=(0, 2))
    assert any(".tar" in words for words in said), "the wall met by shards"
    assert any(".tar" not in words for words in said), "the wall met by what is fetched or decoded"


@on_small_disks
def test_plan_and_census_survive_a_full_disk(tmp_path: Path, archives: Archives) -> None:
    study = begin(tmp_path / "packed", archives)
    marks = study.pack()

    def plan(folder: Path) -> None:
        write_plan(Home(folder).corpus("fma", "key"), study.plan)

    def count(folder: Path) -> None:
        corpus = Home(folder).corpus("fma", "key")
        corpus.root.mkdir(parents=True, exist_ok=True)
        if not corpus.ledger("x").parent.exists():
            corpus.ledger("x").parent.symlink_to(study.corpus.ledger("x").parent)
        take_census(corpus, study.plan, marks, study.config)

    with small_disk(tmp_path / "disk", 8 * MB) as disk:
        assert {"plan.json", "units.jsonl"} == named(survives(disk, plan, pages=range(9)))
    with small_disk(tmp_path / "other", 8 * MB) as disk:
        written = {"census.json", "index.json", "ATTRIBUTION.csv", "README.md"}
        assert written == named(survives(disk, count, pages=range(9)))


def named(said: list[str]) -> set[str]:
    """The files that could not be written."""
    return {words.split(": no space")[0].rpartition("/")[2] for words in said}


def test_remains_of_killed_writers_are_cleared_and_others_left(
    tmp_path: Path, archives: Archives
) -> None:
    study = begin(tmp_path, archives)
    marks = study.pack()
    [mark, *_] = marks
    work = study.requests[0].work
    gone = [
        study.corpus.plan.with_name(".plan.json.7-7.arriving"),
        study.corpus.index.with_name(".index.json.7-7.arriving"),
        study.home.mark(work.stage, mark.key).with_name(f".{mark.key}.json.7-7.arriving"),
    ]
    kept = [
        study.corpus.shards / ".00001-00.tar.7-7.arriving",
        study.corpus.root / ".plan.json.other",
    ]
    for path in (*gone, *kept):
        path.touch()
    study.home.remove(study.home.mark(work.stage, mark.key))
    write_plan(study.corpus, study.plan)
    marks = study.pack()
    take_census(study.corpus, study.plan, marks, study.config)
    assert [path.exists() for path in (*gone, *kept)] == [False] * 3 + [True] * 2
    odd = tmp_path / ".a[0].x.arriving"
    odd.touch()
    clear_remains(tmp_path / "a0")
    assert odd.exists()
    clear_remains(tmp_path / "a[0]")
    assert not odd.exists()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_STORED])
def test_a_damaged_header_costs_its_track_alone(
    tmp_path: Path, archives: Archives, method: int
) -> None:
    with zipfile.ZipFile(archives.archive) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
        victim = next(name for name in members if name.endswith("000004.mp3"))
    path = write_zip(tmp_path / "a.zip", members, method)
    with zipfile.ZipFile(path) as opened:
        place = opened.getinfo(victim).header_offset
    data = bytearray(path.read_bytes())
    data[place : place + 40] = bytes(40)
    path.write_bytes(data)
    study = begin(tmp_path / "home", Archives(path, archives.metadata))
    sizes = [mark.facts["tracks"] for mark in study.pack()]
    row = study.rows()["000004"]
    assert sum(sizes) == 9
    assert (row.outcome, row.reason) == ("quarantined", "crc_mismatch")
    assert "no member begins there" in row.detail
    assert sum(row.outcome == "kept" for row in study.rows().values()) == 3

"""The data side on real recordings, whose numbers are known exactly."""

import json
import os
from pathlib import Path

import pytest

from pipelines.archives.sources import Source
from pipelines.archives.zip_archive import check_archive
from pipelines.config import FmaConfig, MusdbConfig
from pipelines.packing.census import Census, over_budget, take_census
from pipelines.packing.pack import pack_units
from pipelines.packing.unit_work import PackRequest, corpus_key
from pipelines.stems.activity import detect
from pipelines.stems.musdb import unpack
from pipelines.tracks.fma import read_tracks
from pipelines.tracks.plan import make_plan
from storage.errors import DataError
from storage.home.layout import Corpus, Home
from storage.manifests import read_rows
from storage.records import LedgerRow

DATA = Path(
    os.environ.get("STEMWORKS_REAL_DATA", Path(__file__).parents[2].parent / "shared" / "data")
)
SHA1 = {
    "fma_tiny.zip": "0a4077d0994cb8ee3b4138bdc1f00e07392001b2",
    "fma_metadata.zip": "075773019ddd086046eda5e928f48f85e8e47b9b",
    "musdb18hq_tiny.zip": "13a52b001e91ed760e222666c1bd8379b0b6d1d4",
}
CLIPS = {
    "000002": 25,
    "000005": 22,
    "000010": 11,
    "001040": 4,
    "001686": 8,
    "001883": 13,
    "002012": 8,
    "002096": 4,
    "003570": 11,
    "012346": 3,
}

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not all((DATA / name).is_file() for name in SHA1),
        reason=f"the real recordings are not in {DATA}; STEMWORKS_REAL_DATA names their folder",
    ),
]


@pytest.mark.parametrize(("name", "sha1"), SHA1.items())
def test_the_archives_are_the_known_ones(name: str, sha1: str) -> None:
    assert check_archive(DATA / name, sha1) == sha1


def census_of(folder: Path, *settings: str) -> tuple[Census, Corpus, FmaConfig]:
    config = FmaConfig(archive="fma_tiny.zip", unit_tracks=6).override(settings)
    plan = make_plan(read_tracks(DATA / "fma_tiny.zip", DATA / "fma_metadata.zip"), config)
    home = Home(folder)
    corpus = home.corpus("fma", corpus_key(plan, config))
    source = Source(
        location=str(DATA / "fma_tiny.zip"), bytes=(DATA / "fma_tiny.zip").stat().st_size
    )
    requests = [
        PackRequest(home.url, home.relative(corpus.root), source, unit, config)
        for unit in plan.units
    ]
    return take_census(corpus, plan, pack_units(requests, 2), config), corpus, config


@pytest.mark.parametrize("storage", ["clips", "segments"])
def test_the_census_of_the_tiny_archive(tmp_path: Path, storage: str) -> None:
    census, corpus, config = census_of(tmp_path, f"shards.storage={storage}")
    assert (census.tracks_in, census.kept, census.clips) == (17, 10, 109)
    assert census.filtered == {"rate_below_44100": 2, "too_short": 2}
    assert census.quarantined == {"empty": 1, "not_audio": 1, "truncated": 1}
    assert census.tracks == CLIPS
    assert census.hours == pytest.approx(600 / 3600, abs=1e-6)
    assert Census.model_validate(json.loads(corpus.census.read_text())) == census
    with pytest.raises(DataError, match="3 of 17 tracks"):
        over_budget(census, config.error_budget)


def test_the_census_by_the_authors_own_rules(tmp_path: Path) -> None:
    census, corpus, _ = census_of(tmp_path, "filters.silence=official")
    assert (census.tracks_in, census.kept, census.clips) == (17, 7, 105)
    assert census.filtered == {"mono": 1, "rate_below_44100": 2, "silent": 2, "too_short": 2}
    assert census.hours_lost.get("unclipped", 0) == 0, "the last clips end with their tracks"
    rows = [row for path in corpus.root.glob("units/*.jsonl") for row in read_rows(path, LedgerRow)]
    [silent] = [row for row in rows if row.track == "001686"]
    assert silent.detail == "20 of 20 parts of the 0.845 s from 45 s on are digital silence"


def test_the_tiny_stems(tmp_path: Path) -> None:
    home = Home(tmp_path)
    corpus = home.corpus("musdb", "key")
    config = MusdbConfig(validation=("Music Delta - 80s Rock (second half)",))
    songs = unpack(DATA / "musdb18hq_tiny.zip", home, corpus, config)
    assert {song.split: song.frames for song in songs} == {
        "train": 149_940,
        "validation": 150_092,
        "test": 268_288,
    }
    rows = detect(home, songs, config.activity, corpus.activity)
    assert [(row.starts, row.window) for row in rows] == [((0,), 149_940)] * 4

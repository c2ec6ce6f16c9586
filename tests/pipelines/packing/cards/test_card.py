"""A corpus's card and attribution: every kept track named, sums that agree, a snippet that runs."""

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipelines.config import FmaConfig
from pipelines.packing.cards.card import write_card
from pipelines.packing.cards.contents import Contents
from pipelines.packing.census import Census, take_census
from storage.manifests import read_table
from storage.records import Attribution, LedgerRow, Track, plain
from tests.pipelines.packing.corpora import CONFIG, Study, begin
from tests.synthesised import Archives


def packed(root: Path, archives: Archives, config: FmaConfig = CONFIG) -> tuple[Study, Census]:
    study = begin(root, archives, config)
    return study, take_census(study.corpus, study.plan, study.pack(), config)


def rows_below(card: str, heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading."""
    _, _, below = card.partition(f"\n## {heading}\n")
    table = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert table
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table[0].splitlines()[2:]]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, archives: Archives) -> tuple[Study, Census]:
    return packed(tmp_path_factory.mktemp("corpus"), archives)


def test_every_kept_track_is_attributed_and_no_other(corpus: tuple[Study, Census]) -> None:
    study, census = corpus
    listed = read_table(study.corpus.attribution, Attribution)
    assert [one.track for one in listed] == sorted(census.tracks)
    tracks = {track.id: track for unit in study.plan.units for track in unit.tracks}
    for one in listed:
        track = tracks[one.track]
        assert (one.artist, one.title, one.licence, one.split) == (
            track.artist, track.title, track.licence, track.split,
        )  # fmt: skip
        assert one.source == f"fma_tiny.zip: {track.member}"
    assert any(one.artist for one in listed)


def test_the_parts_add_up_to_the_census(corpus: tuple[Study, Census]) -> None:
    study, census = corpus
    card = study.corpus.card.read_text()
    for heading in ("Licences", "Genres", "Splits"):
        rows = rows_below(card, heading)
        assert sum(int(row[1]) for row in rows) == census.kept
        assert sum(int(row[2]) for row in rows) == census.clips
        assert sum(float(row[3]) for row in rows) == pytest.approx(census.hours, abs=0.002)
    outcomes = {row[0]: row[1] for row in rows_below(card, "Tracks")}
    assert outcomes["in the archive"] == str(census.tracks_in)
    for reason, count in {**census.filtered, **census.quarantined}.items():
        [number] = [value for name, value in outcomes.items() if f"`{reason}`" in name]
        assert number == str(count)
    rules = {row[0]: row[1] for row in rows_below(card, "Rules")}
    assert rules["`filters.silence_db`"] == "-60.0"
    assert rules["`filters.licences`"] == "any"


def test_the_digests_are_those_of_the_files(corpus: tuple[Study, Census]) -> None:
    study, _ = corpus
    said = {
        row[0]: row[1].strip("`") for row in rows_below(study.corpus.card.read_text(), "Digests")
    }
    assert said.pop("the plan") == study.plan.digest()
    for words, digest in said.items():
        data = (study.corpus.root / words.partition(",")[0]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == digest
    assert len(said) == 3


@pytest.mark.slow
def test_its_snippet_reads_the_corpus(corpus: tuple[Study, Census]) -> None:
    study, census = corpus
    [snippet] = re.findall(r"```python\n(.*?)```", study.corpus.card.read_text(), re.DOTALL)
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", snippet],
        cwd=study.corpus.root, env={**os.environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("t")
    assert answer.stdout[1:7] in census.tracks
    assert answer.stdout.endswith(" 10.0\n")


def test_whatever_an_archive_says_stays_one_cell(corpus: tuple[Study, Census]) -> None:
    study, census = corpus
    track = Track(id="000001", member="a.mp3", bytes=1, licence="by | for\nall", title='a "b", c')
    row = LedgerRow(track="000001", outcome="kept", clips=2, kept_seconds=15)
    contents = Contents("mine")
    contents.add([track], [row])
    before = [path.read_bytes() for path in (study.corpus.card, study.corpus.attribution)]
    write_card(study.corpus, CONFIG, contents, plain(census), "0" * 64)
    [line] = re.findall(r"^\| by .*", study.corpus.card.read_text(), re.MULTILINE)
    assert line == r"| by \| for all | 1 | 2 | 0.004 |"
    [one] = read_table(study.corpus.attribution, Attribution)
    assert (one.licence, one.title) == ("by | for\nall", 'a "b", c')
    for path, data in zip((study.corpus.card, study.corpus.attribution), before, strict=True):
        path.write_bytes(data)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ([], {"A sample is a clip of 10 s": True, "*.idx.json": False}),
        (["shards.storage=segments"], {"A sample is 5 s of a track": True, "*.idx.json": True}),
    ],
)
def test_what_a_sample_is(
    tmp_path: Path, archives: Archives, settings: list[str], said: Mapping[str, bool]
) -> None:
    study, _ = packed(tmp_path, archives, CONFIG.override(settings))
    card = study.corpus.card.read_text()
    assert {words: words in card for words in said} == said

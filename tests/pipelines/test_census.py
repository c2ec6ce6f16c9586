"""The census: every track accounted for, or an error that says which is not."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipelines.census import Census, over_budget, take_census
from pipelines.config import FmaConfig
from pipelines.pack import unit_work
from pipelines.plan import Plan, make_plan
from storage.errors import DataError, ManifestError
from storage.layout import Corpus, Home
from storage.manifests import read_rows, write_rows
from storage.marks import Mark, commit
from storage.records import LedgerRow, Track
from storage.shards import ShardReader, ShardWriter

CONFIG = FmaConfig(unit_tracks=2)
ROWS: dict[str, dict[str, Any]] = {
    "000001": {"outcome": "kept", "clips": 2, "kept_seconds": 15.0, "seconds": 18.0},
    "000002": {"outcome": "kept", "clips": 1, "kept_seconds": 10.0, "seconds": 10.0},
    "000003": {"outcome": "filtered", "reason": "too_short", "seconds": 7.2},
    "000004": {"outcome": "quarantined", "reason": "empty"},
}


def build(root: Path) -> tuple[Corpus, Plan, list[Mark]]:
    home = Home(root)
    plan = make_plan([Track(id=name, member=name, bytes=1, crc=1) for name in ROWS], CONFIG)
    corpus = home.corpus("fma", "key")
    marks = []
    for unit in plan.units:
        rows = [LedgerRow.model_validate({"track": t.id, **ROWS[t.id]}) for t in unit.tracks]
        writer = ShardWriter(partial(corpus.shard, unit.id), 10**6, "flac")
        for row in rows:
            for number in range(row.clips):
                note = {"track": row.track, "split": "training"}
                writer.add(f"t{row.track}_c{number:04d}", b"sound", note)
        shards = writer.close()
        write_rows(corpus.ledger(unit.id), rows)
        outputs = {f"shard-{number:04d}": path for number, path in enumerate(shards)}
        facts = {"shards": [sum(row.clips for row in rows)] if shards else []}
        work = unit_work(unit, CONFIG, corpus)
        marks.append(commit(home, work, outputs, facts, 0.0))
    return corpus, plan, marks


def test_ledgers_add_up(tmp_path: Path) -> None:
    corpus, plan, marks = build(tmp_path)
    census = take_census(corpus, plan, marks[::-1], CONFIG)
    assert census == Census(
        tracks_in=4,
        kept=2,
        filtered={"too_short": 1},
        quarantined={"empty": 1},
        clips=3,
        hours=0.006944,
        tracks={"000001": 2, "000002": 1},
        hours_in=0.009778,
        hours_lost={"too_short": 0.002, "unclipped": 0.000833},
    )
    assert Census.model_validate(json.loads(corpus.census.read_text())) == census
    reader = ShardReader(corpus.index)
    assert len(reader.entries) == 3
    assert reader.index.clip_frames == 441_000
    names = [shard.name for shard in reader.index.shards]
    assert names == sorted(names)


def test_an_unpacked_unit_is_named(tmp_path: Path) -> None:
    corpus, plan, marks = build(tmp_path)
    with pytest.raises(ManifestError, match=r"unit 0001 .* is not packed"):
        take_census(corpus, plan, marks[:1], CONFIG)


def test_a_lost_or_doubled_row_is_refused(tmp_path: Path) -> None:
    corpus, plan, marks = build(tmp_path)
    ledger = corpus.ledger("0000")
    rows = read_rows(ledger, LedgerRow)
    for wrong in (rows[:1], [*rows, rows[0]], []):
        write_rows(ledger, wrong)
        with pytest.raises(ManifestError, match=rf"has {len(wrong)} rows for 2 planned tracks"):
            take_census(corpus, plan, marks, CONFIG)
    assert not corpus.census.exists()


def test_clips_and_shards_must_agree(tmp_path: Path) -> None:
    corpus, plan, marks = build(tmp_path)
    first = next(n for n, mark in enumerate(marks) if mark.facts["shards"])
    marks[first] = marks[first].model_copy(update={"facts": {"shards": [7]}})
    with pytest.raises(ManifestError, match="ledgers count 3 clips, its shards"):
        take_census(corpus, plan, marks, CONFIG)


def test_the_error_budget_names_the_worst_reasons(tmp_path: Path) -> None:
    census = take_census(*build(tmp_path), CONFIG)
    over_budget(census, 0.25)
    with pytest.raises(DataError, match=r"1 of 4 tracks are quarantined \(25\.0%.*: 1 empty;"):
        over_budget(census, 0.24)

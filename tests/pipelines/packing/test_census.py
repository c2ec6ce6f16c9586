"""The census: every track accounted for, or an error that says which is not."""

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.config import FmaConfig
from pipelines.packing.census import Census, over_budget, take_census
from pipelines.packing.unit_work import unit_work
from pipelines.tracks.plan import Plan, StoredPlan, make_plan, write_plan
from storage.errors import DataError, ManifestError
from storage.home.layout import Corpus, Home, shard_offsets
from storage.home.marks import Mark, commit
from storage.manifests import read_rows, write_rows
from storage.records import LedgerRow, Track
from storage.shards.writer import ClipStart, Sample, ShardIndex, ShardWriter

CONFIG = FmaConfig(unit_tracks=2)
ROWS: dict[str, dict[str, Any]] = {
    "000001": {"outcome": "kept", "clips": 2, "kept_seconds": 15.0, "seconds": 18.0},
    "000002": {"outcome": "kept", "clips": 1, "kept_seconds": 10.0, "seconds": 10.0},
    "000003": {
        "outcome": "filtered",
        "reason": "bandwidth_below_16000",
        "seconds": 7.2,
        "measures": {"bandwidth_hz": 15_500, "correlation": None},
    },
    "000004": {"outcome": "quarantined", "reason": "empty"},
}


def build(root: Path, config: FmaConfig = CONFIG) -> tuple[Corpus, Plan, list[Mark]]:
    home = Home(root)
    plan = make_plan([Track(id=name, member=name, bytes=1, crc=1) for name in ROWS], config)
    corpus = home.corpus("fma", "key")
    marks = []
    for unit in plan.units:
        rows = [LedgerRow.model_validate({"track": t.id, **ROWS[t.id]}) for t in unit.tracks]
        writer = ShardWriter(partial(corpus.shard, unit.id), 10**6, "flac")
        for row in rows:
            for number in range(row.clips):
                key = f"t{row.track}_c{number:04d}"
                sample = Sample.of(key, b"sound", {"track": row.track, "split": "training"})
                writer.add(row.track, "training", [sample], [ClipStart(key, 0)])
        shards = writer.close()
        write_rows(corpus.ledger(unit.id), rows)
        outputs = {f"shard-{number:04d}": shard.path for number, shard in enumerate(shards)}
        outputs |= {
            f"offsets-{number:04d}": shard_offsets(shard.path)
            for number, shard in enumerate(shards)
        }
        counts = [{"clips": shard.clips, "samples": shard.samples} for shard in shards]
        work = unit_work(unit, config, corpus)
        marks.append(commit(home, work, outputs, {"shards": counts}, 0.0))
    return corpus, plan, marks


def test_ledgers_add_up(tmp_path: Path) -> None:
    corpus, plan, marks = build(tmp_path)
    census = take_census(corpus, plan, marks[::-1], CONFIG)
    assert census == Census(
        tracks_in=4,
        kept=2,
        filtered={"bandwidth_below_16000": 1},
        quarantined={"empty": 1},
        clips=3,
        hours=0.006944,
        tracks={"000001": 2, "000002": 1},
        hours_in=0.009778,
        hours_lost={"bandwidth_below_16000": 0.002, "unclipped": 0.000833},
        measures=census.measures,
    )
    assert Census.model_validate(json.loads(corpus.census.read_text())) == census
    bandwidth = census.measures["bandwidth_hz"]
    assert dict(zip(bandwidth.edges, bandwidth.hours[1:], strict=True))[15_000] == 0.002
    assert sum(bandwidth.hours) == 0.002
    assert set(census.measures) == {"bandwidth_hz"}
    index = ShardIndex.model_validate(json.loads(corpus.index.read_text()))
    assert index.clips == 3
    assert (index.clip_frames, index.sample_frames) == (441_000, 441_000)
    names = [shard.name for shard in index.shards]
    assert names == sorted(names)
    for shard in index.shards:
        tar = corpus.shards / shard.name
        for path, size, sha256 in (
            (tar, shard.bytes, shard.sha256),
            (shard_offsets(tar), shard.sidecar_bytes, shard.sidecar_sha256),
        ):
            data = path.read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (size, sha256)


def test_a_plan_at_rest_counts_as_one_in_memory(tmp_path: Path) -> None:
    corpus, plan, marks = build(tmp_path)
    census = take_census(corpus, plan, marks, CONFIG)
    files = [path.read_bytes() for path in (corpus.census, corpus.index)]
    stored = StoredPlan(corpus, write_plan(corpus, plan))
    assert take_census(corpus, stored, marks, CONFIG) == census
    assert [path.read_bytes() for path in (corpus.census, corpus.index)] == files


def test_every_track_is_a_row_of_the_table(tmp_path: Path) -> None:
    corpus, plan, marks = build(tmp_path)
    take_census(corpus, plan, marks, CONFIG)
    rows = {row["track"]: row for row in pq.read_table(corpus.tracks).to_pylist()}
    assert {name: row["outcome"] for name, row in rows.items()} == {
        name: row["outcome"] for name, row in ROWS.items()
    }
    assert rows["000003"]["bandwidth_hz"] == 15_500
    assert rows["000001"]["bandwidth_hz"] is None
    assert rows["000002"]["member"] == "000002"


def test_segments_are_indexed_by_the_hop(tmp_path: Path) -> None:
    config = CONFIG.override(['shards.storage="segments"'])
    corpus, plan, marks = build(tmp_path, config)
    take_census(corpus, plan, marks, config)
    index = ShardIndex.model_validate(json.loads(corpus.index.read_text()))
    assert (index.storage, index.sample_frames, index.samples_per_clip) == ("segments", 220_500, 2)


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
    assert not corpus.tracks.exists()


def test_clips_and_shards_must_agree(tmp_path: Path) -> None:
    corpus, plan, marks = build(tmp_path)
    first = next(n for n, mark in enumerate(marks) if mark.facts["shards"])
    clips = marks[first].facts["shards"][0]["clips"]
    facts = {"shards": [{"clips": 7, "samples": 7}]}
    marks[first] = marks[first].model_copy(update={"facts": facts})
    with pytest.raises(ManifestError, match=rf"counts {clips} clips, the unit's shards 7"):
        take_census(corpus, plan, marks, CONFIG)
    assert not corpus.index.exists()


def test_the_error_budget_names_the_worst_reasons(tmp_path: Path) -> None:
    census = take_census(*build(tmp_path), CONFIG)
    over_budget(census, 0.25)
    with pytest.raises(DataError, match=r"1 of 4 tracks are quarantined \(25\.0%.*: 1 empty;"):
        over_budget(census, 0.24)

"""Thousands of damaged recordings packed: none crashes the packer, hangs it, or is lost."""

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import FmaConfig
from pipelines.packing.census import take_census
from pipelines.packing.pack import pack_units
from pipelines.tracks.plan import write_plan
from pipelines.workers.isolation import Isolated
from storage.manifests import read_rows
from storage.records import LedgerRow
from tests.torture.material import packing
from tests.torture.members import write_damaged
from tests.torture.mutants import MUTATIONS, mutant

FILTERED = {"rate_below_44100", "too_short", "silent", "duplicate"}
LOST = {"crash", "timeout", "memory"}
"""The child did not survive these and was started again."""
QUARANTINED = LOST | {
    "empty", "not_audio", "truncated", "zero_frames", "nan", "too_long", "channels", "decode_error",
    "crc_mismatch", "sha1_mismatch",
}  # fmt: skip
CONFIG = FmaConfig(unit_tracks=50, workers=2, timeout_seconds=60, error_budget=1)


@dataclass
class Damage:
    """What became of damaged recordings; `faults` are violations."""

    tracks: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    by_kind: dict[str, Counter[str]] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    """What was done to the tracks that cost a child, by their ids."""
    slowest: tuple[float, str] = (0.0, "")
    """Seconds and id."""
    peak_mb: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


def pack_damaged(folder: Path, count: int, seed: int) -> Damage:
    """Pack `count` damaged recordings and look at each one's row in the ledger."""
    found, started = Damage(count), time.monotonic()
    mutants = [mutant(number, seed) for number in range(count)]
    archives, done = write_damaged(folder / "data", mutants, seed)
    study = packing(str(folder / "home"), archives, CONFIG)
    write_plan(study.corpus, study.plan)
    times: dict[str, float] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Isolated, "call", _timed(Isolated.call, times))
        marks = pack_units(study.requests, CONFIG.workers)
    census = take_census(study.corpus, study.plan, marks, CONFIG)
    rows = [row for unit in study.plan.units for row in
            read_rows(study.corpus.ledger(unit.id), LedgerRow)]  # fmt: skip
    parts = census.kept + sum(census.filtered.values()) + sum(census.quarantined.values())
    if not count == census.tracks_in == parts == len({row.track for row in rows}) == len(rows):
        found.faults.append(f"{count} tracks went in, {len(rows)} rows came out: {census}")
    sure = {f"{n + 2:06d}" for n, one in enumerate(mutants) if one.harmless}
    _judge(found, rows, done, {name for name in sure if done[name] in MUTATIONS})
    found.slowest = max((seconds, name) for name, seconds in times.items())
    found.peak_mb = max(mark.facts["peak_mb"] for mark in marks)
    if found.peak_mb > CONFIG.memory_mb:
        found.faults.append(f"a child held {found.peak_mb} MB")
    found.faults += [f"{path} is left over" for path in study.remains()]
    found.seconds = time.monotonic() - started
    return found


def _judge(found: Damage, rows: list[LedgerRow], done: dict[str, str], harmless: set[str]) -> None:
    """Look at each row; `harmless` are the tracks whose sound is all there."""
    known = {"kept": {""}, "filtered": FILTERED, "quarantined": QUARANTINED}
    for row in rows:
        kind, reason = done[row.track], row.reason or "kept"
        found.reasons[reason] += 1
        found.by_kind.setdefault(kind, Counter())[reason] += 1
        if row.reason not in known[row.outcome]:
            found.faults.append(f"track {row.track} ({kind}) is {row.outcome} as {row.reason}")
        if row.reason in LOST:
            found.lost[row.track] = f"{kind}: {row.reason}: {row.detail}"
        if row.track in harmless and reason not in ("kept", "duplicate", "sha1_mismatch"):
            found.faults.append(
                f"track {row.track} ({kind}) has all its sound, but is {row.outcome} as {reason}"
            )
        if row.frames_lost and row.frames_lost < sum(
            (length - 0.001) * row.sample_rate for _, length in row.losses
        ):
            found.faults.append(f"track {row.track} ({kind}) lists more losses than it counts")
        if row.outcome == "kept" and not row.clips:
            found.faults.append(f"track {row.track} is kept without a clip")


def _timed(call: Any, times: dict[str, float]) -> Any:
    """Return `Isolated.call`, noting how long each track takes."""

    def wrapper(self: Any, order: Any, timeout_seconds: float) -> Any:
        started = time.monotonic()
        try:
            return call(self, order, timeout_seconds)
        finally:
            times[order.track.id] = time.monotonic() - started

    return wrapper

"""What a corpus's units add up to: the index of its shards, and every track accounted for."""

from collections import Counter
from collections.abc import Sequence

from pipelines.config import FmaConfig
from pipelines.pack import SHARD, count_reasons
from pipelines.plan import Plan
from storage.config import digest_of
from storage.errors import DataError, ManifestError
from storage.files import write_json
from storage.layout import Corpus
from storage.manifests import read_rows
from storage.marks import Mark
from storage.records import LedgerRow, Record, ShardInfo, plain
from storage.shards import ShardIndex

WORST = 5


class Census(Record):
    """What became of every track of a corpus."""

    tracks_in: int
    kept: int
    filtered: dict[str, int]
    """Tracks left out on purpose, by reason."""
    quarantined: dict[str, int]
    """Tracks that failed, by reason."""
    clips: int
    hours: float
    """Of music kept, each second counted once."""
    tracks: dict[str, int]
    """Clips of each kept track."""
    hours_in: float
    """Of music decoded."""
    hours_lost: dict[str, float]
    """Hours decoded but not kept, by reason; `unclipped` lies in kept tracks, but in no clip."""


def take_census(corpus: Corpus, plan: Plan, marks: Sequence[Mark], config: FmaConfig) -> Census:
    """Add up the ledgers of all units; write `index.json` and `census.json`.

    Raises:
        ManifestError: a unit is not packed, or a track has no ledger row, or two.
    """
    by_unit = {mark.inputs["unit"]: mark for mark in marks}
    rows: list[LedgerRow] = []
    shards: list[ShardInfo] = []
    for unit in plan.units:
        mark = by_unit.get(digest_of(plain(unit)))
        if mark is None:
            raise ManifestError(f"unit {unit.id} of {corpus.root} is not packed; run again")
        found = read_rows(corpus.ledger(unit.id), LedgerRow)
        _require_all(corpus, unit.id, [track.id for track in unit.tracks], found)
        rows += found
        shards += _shards(mark)
    census = _add_up(rows)
    _require_balance(corpus, plan, census, sum(shard.clips for shard in shards))
    rate = config.filters.sample_rate
    index = ShardIndex(
        sample_rate=rate,
        clip_frames=config.clips.seconds * rate,
        codec=config.shards.codec,
        shards=tuple(shards),
    )
    write_json(corpus.index, plain(index))
    write_json(corpus.census, plain(census))
    return census


def over_budget(census: Census, budget: float) -> None:
    """Raise `DataError` that names the worst reasons if too large a share is quarantined."""
    lost = sum(census.quarantined.values())
    if lost <= budget * census.tracks_in:
        return
    worst = Counter(census.quarantined).most_common(WORST)
    reasons = ", ".join(f"{count} {reason}" for reason, count in worst)
    raise DataError(
        f"{lost} of {census.tracks_in} tracks are quarantined ({lost / census.tracks_in:.1%}, but "
        f"the error budget is {budget:.1%}): {reasons}; read the units' ledgers, mend the "
        "archive, or raise error_budget"
    )


def _require_all(corpus: Corpus, unit: str, planned: list[str], found: list[LedgerRow]) -> None:
    if [row.track for row in found] == planned:
        return
    odd = sorted((Counter(planned) - Counter(row.track for row in found)).keys())[:5]
    raise ManifestError(
        f"{corpus.ledger(unit)} has {len(found)} rows for {len(planned)} planned tracks (without a "
        f"row: {', '.join(odd) or 'none'}); delete it and run again"
    )


def _require_balance(corpus: Corpus, plan: Plan, census: Census, in_shards: int) -> None:
    parts = census.kept + sum(census.filtered.values()) + sum(census.quarantined.values())
    if not plan.tracks == census.tracks_in == parts:
        raise ManifestError(
            f"{corpus.root}: {plan.tracks} tracks were planned and {census.tracks_in} have ledger "
            f"rows, but {parts} are kept, filtered or quarantined; delete its units and run again"
        )
    if in_shards != census.clips:
        raise ManifestError(
            f"{corpus.root}: its ledgers count {census.clips} clips, its shards {in_shards}; "
            "delete its units and run again"
        )


def _shards(mark: Mark) -> list[ShardInfo]:
    outputs = [output for output in mark.outputs if output.label.startswith(SHARD)]
    clips = mark.facts["shards"]
    return [
        ShardInfo(
            name=output.path.rpartition("/")[2],
            bytes=output.bytes,
            sha256=output.sha256,
            clips=count,
        )
        for output, count in zip(outputs, clips, strict=True)
    ]


def _add_up(rows: Sequence[LedgerRow]) -> Census:
    kept = sorted((row for row in rows if row.outcome == "kept"), key=lambda row: row.track)
    lost: dict[str, float] = {}
    for row in rows:
        reason = row.reason or "unclipped"
        lost[reason] = lost.get(reason, 0.0) + row.seconds - row.kept_seconds
    return Census(
        tracks_in=len(rows),
        kept=len(kept),
        filtered=count_reasons(rows, "filtered"),
        quarantined=count_reasons(rows, "quarantined"),
        clips=sum(row.clips for row in rows),
        hours=_hours(sum(row.kept_seconds for row in rows)),
        tracks={row.track: row.clips for row in kept},
        hours_in=_hours(sum(row.seconds for row in rows)),
        hours_lost={reason: _hours(seconds) for reason, seconds in sorted(lost.items()) if seconds},
    )


def _hours(seconds: float) -> float:
    return round(seconds / 3600, 6)

"""The totals of a corpus's units: the index of its shards, and what became of every track."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import Field

from pipelines.config import FmaConfig
from pipelines.measures.distributions import Distribution, Distributions
from pipelines.measures.track_table import track_table
from pipelines.packing.cards.card import write_card
from pipelines.packing.cards.contents import Contents
from pipelines.packing.unit_work import SHARD
from pipelines.tracks.plan import Plan, StoredPlan
from storage.errors import DataError, ManifestError
from storage.files import clear_remains, write_json
from storage.home.layout import Corpus
from storage.home.marks import Mark
from storage.manifests import read_rows
from storage.records import LedgerRow, Record, ShardInfo, Unit, plain
from storage.shards.writer import ShardIndex
from storage.tally import Tally

OFFSETS = "offsets-"
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
    """Hours decoded but not kept, by reason; `unclipped` is in kept tracks, but in no clip."""
    measures: dict[str, Distribution] = Field(default_factory=dict)
    """Hours decoded, by each figure that was measured of their tracks."""

    @property
    def tally(self) -> Tally:
        """Return what became of the tracks."""
        return Tally(kept=self.kept, filtered=self.filtered, quarantined=self.quarantined)


@dataclass
class _Sums:
    """The totals of the ledgers read so far; their rows are not kept."""

    tally: Tally = field(default_factory=Tally)
    clips: int = 0
    seconds: float = 0.0
    kept_seconds: float = 0.0
    tracks: dict[str, int] = field(default_factory=dict)
    lost: dict[str, float] = field(default_factory=dict)
    """Seconds by reason."""
    measures: Distributions = field(default_factory=Distributions)

    def add(self, rows: Sequence[LedgerRow]) -> None:
        """Add a unit's ledger."""
        self.tally += Tally.of(rows)
        self.measures.add(rows)
        for row in rows:
            self.clips += row.clips
            self.seconds += row.seconds
            self.kept_seconds += row.kept_seconds
            reason = row.reason or "unclipped"
            self.lost[reason] = self.lost.get(reason, 0.0) + row.seconds - row.kept_seconds
            if row.outcome == "kept":
                self.tracks[row.track] = row.clips

    def census(self) -> Census:
        lost = {reason: _hours(seconds) for reason, seconds in sorted(self.lost.items())}
        return Census(
            tracks_in=self.tally.total,
            **self.tally.as_facts(),
            clips=self.clips,
            hours=_hours(self.kept_seconds),
            tracks=dict(sorted(self.tracks.items())),
            hours_in=_hours(self.seconds),
            # Lengths are rounded before and after resampling: a millisecond is none.
            hours_lost={reason: hours for reason, hours in lost.items() if hours > 0},
            measures=self.measures.found(),
        )


def take_census(
    corpus: Corpus, plan: Plan | StoredPlan, marks: Sequence[Mark], config: FmaConfig
) -> Census:
    """Add up the ledgers of all units; write what the corpus holds, for programs and for people.

    Units and ledgers pass through one by one: memory grows with shards and kept tracks alone. One
    process at a time.

    Raises:
        ManifestError: a unit is not packed, or a track has no ledger row, or two.
    """
    by_unit = {mark.inputs["unit"]: mark for mark in marks}
    sums, contents, shards = _Sums(), Contents(config.archive), list[ShardInfo]()
    written = (corpus.index, corpus.census, corpus.tracks, corpus.card, corpus.attribution)
    clear_remains(*written)
    with track_table(corpus.tracks) as table:
        for digest, unit in plan.each():
            mark = by_unit.get(digest)
            if mark is None:
                raise ManifestError(f"unit {unit.id} of {corpus.root} is not packed; run again")
            rows = read_rows(corpus.ledger(unit.id), LedgerRow)
            made = _shards(mark)
            _require_all(corpus, unit, rows)
            _require_clips(corpus, unit, rows, made)
            sums.add(rows)
            contents.add(unit.tracks, rows)
            table.add(unit.tracks, rows)
            shards += made
        census = sums.census()
        _require_balance(corpus, plan.tracks, census)
    write_json(corpus.index, plain(_index(shards, config)))
    write_json(corpus.census, plain(census))
    write_card(corpus, config, contents, plain(census), plan.digest())
    return census


def over_budget(census: Census, budget: float) -> None:
    """Raise `DataError` that names the worst reasons if too large a share is quarantined."""
    lost = census.tally.failed
    if lost <= budget * census.tracks_in:
        return
    worst = Counter(census.quarantined).most_common(WORST)
    reasons = ", ".join(f"{count} {reason}" for reason, count in worst)
    raise DataError(
        f"{lost} of {census.tracks_in} tracks are quarantined ({lost / census.tracks_in:.1%}, but "
        f"the error budget is {budget:.1%}): {reasons}; read the units' ledgers, repair the "
        "archive, or raise error_budget"
    )


def _index(shards: Sequence[ShardInfo], config: FmaConfig) -> ShardIndex:
    rate, clips, form = config.filters.sample_rate, config.clips, config.shards
    sample_seconds = clips.hop_seconds if form.storage == "segments" else clips.seconds
    return ShardIndex(
        storage=form.storage,
        sample_rate=rate,
        clip_frames=clips.seconds * rate,
        sample_frames=sample_seconds * rate,
        codec=form.codec,
        shards=tuple(shards),
    )


def _shards(mark: Mark) -> list[ShardInfo]:
    tars = [output for output in mark.outputs if output.label.startswith(SHARD)]
    sidecars = {output.label: output for output in mark.outputs if output.label.startswith(OFFSETS)}
    counts = mark.facts["shards"]
    made = []
    for tar, count in zip(tars, counts, strict=True):
        sidecar = sidecars[OFFSETS + tar.label.removeprefix(SHARD)]
        made.append(
            ShardInfo(
                name=tar.path.rpartition("/")[2],
                bytes=tar.bytes,
                sha256=tar.sha256,
                clips=count["clips"],
                samples=count["samples"],
                sidecar_bytes=sidecar.bytes,
                sidecar_sha256=sidecar.sha256,
            )
        )
    return made


def _require_all(corpus: Corpus, unit: Unit, found: Sequence[LedgerRow]) -> None:
    planned = [track.id for track in unit.tracks]
    if [row.track for row in found] == planned:
        return
    odd = sorted((Counter(planned) - Counter(row.track for row in found)).keys())[:5]
    raise ManifestError(
        f"{corpus.ledger(unit.id)} has {len(found)} rows for {len(planned)} planned tracks "
        f"(without a row: {', '.join(odd) or 'none'}); delete it and run again"
    )


def _require_clips(
    corpus: Corpus, unit: Unit, rows: Sequence[LedgerRow], shards: Sequence[ShardInfo]
) -> None:
    counted, stored = sum(row.clips for row in rows), sum(shard.clips for shard in shards)
    if counted != stored:
        raise ManifestError(
            f"{corpus.ledger(unit.id)} counts {counted} clips, the unit's shards {stored}; delete "
            "it and run again"
        )


def _require_balance(corpus: Corpus, planned: int, census: Census) -> None:
    if planned != census.tally.total:
        raise ManifestError(
            f"{corpus.root}: {planned} tracks were planned, but {census.tally.total} are kept, "
            "filtered or quarantined; delete its units and run again"
        )


def _hours(seconds: float) -> float:
    return round(seconds / 3600, 6)

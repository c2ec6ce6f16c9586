"""Freeze the work: tracks -> units, the same for the same seed on any machine.

`plan.json` lists the units, `units.jsonl` holds their tracks, one unit per line.
Looking a unit up, or counting what is left, reads only the first; packing some units reads only
their lines.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from pydantic import ValidationError

from pipelines.archives.sources import Source
from pipelines.config import FmaConfig
from storage.config import digest_of
from storage.errors import DataError, IntegrityError, ManifestError
from storage.files import arriving, clear_remains, read_json, write_bytes
from storage.home.layout import Corpus
from storage.records import Record, Track, Unit, plain


class PlannedUnit(Record):
    """A unit as `plan.json` lists it: everything but its tracks."""

    id: str
    digest: str
    """Of the unit with its tracks, as `unit_digest` returns it."""
    tracks: int
    bytes: int
    """To read from the archive."""
    start: int
    """Of its line in `units.jsonl`, and the line's bytes."""
    length: int


class Outline(Record):
    """A plan without its tracks: what is needed to know what is done and what is left."""

    seed: int
    unit_tracks: int
    source: Source
    """The archive that was planned. Its location may change and is not kept."""
    units: tuple[PlannedUnit, ...]

    @property
    def tracks(self) -> int:
        """Tracks of all units."""
        return sum(unit.tracks for unit in self.units)

    def digest(self) -> str:
        """Return what the plan's digest is."""
        return _digest(self.seed, self.unit_tracks, (unit.digest for unit in self.units))


class Plan(Record):
    """Which tracks are packed together, frozen before the first is read."""

    seed: int
    unit_tracks: int
    units: tuple[Unit, ...]

    @property
    def tracks(self) -> int:
        """Tracks of all units."""
        return sum(len(unit.tracks) for unit in self.units)

    def digest(self) -> str:
        """Return a sha256 of the seed and all units, whatever the archive is called."""
        return _digest(self.seed, self.unit_tracks, map(unit_digest, self.units))

    def each(self) -> Iterator[tuple[str, Unit]]:
        """Yield every unit's digest and the unit."""
        for unit in self.units:
            yield unit_digest(unit), unit


@dataclass(frozen=True)
class StoredPlan:
    """A stored plan, whose units are read one by one when needed."""

    corpus: Corpus
    outline: Outline

    @property
    def tracks(self) -> int:
        """Tracks of all units."""
        return self.outline.tracks

    def digest(self) -> str:
        """Return what the plan's digest is."""
        return self.outline.digest()

    def each(self) -> Iterator[tuple[str, Unit]]:
        """Yield every unit's digest and the unit; raises as `read_units`."""
        planned = self.outline.units
        for entry, unit in zip(planned, read_units(self.corpus, planned), strict=True):
            yield entry.digest, unit


def make_plan(tracks: Sequence[Track], config: FmaConfig) -> Plan:
    """Divide tracks into units of at most `unit_tracks`, of sizes that differ by one at most.

    The order is `shuffled`'s: neighbours in the archive, often one album, end up far apart.

    Raises:
        DataError: there is no track, or two have one id.
    """
    by_id = {track.id: track for track in tracks}
    if not tracks or len(by_id) != len(tracks):
        times = Counter(track.id for track in tracks)
        twice = [name for name, count in times.items() if count > 1][:5]
        raise DataError(
            f"a plan needs tracks with distinct ids; got {len(tracks)}, repeated: {twice}"
        )
    names = shuffled(list(by_id), config.seed)
    count = -(-len(names) // config.unit_tracks)
    units = (
        Unit(id=f"{number:04d}", tracks=tuple(by_id[name] for name in dealt))
        for number, dealt in enumerate(_deal(names, count))
    )
    return Plan(seed=config.seed, unit_tracks=config.unit_tracks, units=tuple(units))


def shuffled(names: Sequence[str], seed: int) -> list[str]:
    """Return names in the order of sha256("<seed>:<name>").

    A hash, not a random generator: no library's next release can change the order, and where a
    name lands does not depend on the others.
    """
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())


def unit_digest(unit: Unit | PlannedUnit) -> str:
    """Return the sha256 of a unit and its tracks, as the key of its packing holds it."""
    return unit.digest if isinstance(unit, PlannedUnit) else digest_of(plain(unit))


def write_plan(corpus: Corpus, plan: Plan, source: Source | None = None) -> Outline:
    """Write a plan of a source's tracks where its corpus keeps it; return its outline.

    One process at a time.
    """
    clear_remains(corpus.units, corpus.plan)
    units: list[PlannedUnit] = []
    start = 0
    with arriving(corpus.units) as temporary, temporary.open("wb") as stream:
        for unit in plan.units:
            line = unit.model_dump_json().encode() + b"\n"
            stream.write(line)
            units.append(
                PlannedUnit(
                    id=unit.id,
                    digest=unit_digest(unit),
                    tracks=len(unit.tracks),
                    bytes=sum(track.packed_bytes or track.bytes for track in unit.tracks),
                    start=start,
                    length=len(line),
                )
            )
            start += len(line)
    pinned = (source or Source(location="")).model_copy(update={"location": ""})
    outline = Outline(
        seed=plan.seed, unit_tracks=plan.unit_tracks, source=pinned, units=tuple(units)
    )
    write_bytes(corpus.plan, outline.model_dump_json().encode() + b"\n")
    return outline


def read_outline(corpus: Corpus) -> Outline:
    """Read a plan without its tracks; raise `ManifestError` if it is missing or malformed."""
    try:
        return Outline.model_validate(read_json(corpus.plan))
    except ValidationError as error:
        raise ManifestError(
            f"{corpus.plan} is no plan ({error.errors()[0]['msg']}); delete it and plan again"
        ) from error


def read_units(corpus: Corpus, wanted: Iterable[PlannedUnit]) -> Iterator[Unit]:
    """Yield planned units with their tracks; only their lines are read.

    Raises:
        ManifestError: `units.jsonl` is missing, or holds no unit there.
        IntegrityError: a unit is not the one that was planned.
    """
    path = corpus.units
    if not path.is_file():
        raise ManifestError(f"{path} is missing; delete {corpus.plan} and plan again")
    with path.open("rb") as stream:
        for planned in wanted:
            stream.seek(planned.start)
            try:
                unit = Unit.model_validate_json(stream.read(planned.length))
            except ValidationError as error:
                raise ManifestError(
                    f"{path} holds no unit {planned.id} at byte {planned.start} "
                    f"({error.errors()[0]['msg']}); delete {corpus.plan} and plan again"
                ) from error
            if unit_digest(unit) != planned.digest:
                raise IntegrityError(
                    f"unit {planned.id} in {path} is not the one that {corpus.plan.name} lists; "
                    "delete both and plan again"
                )
            yield unit


def _digest(seed: int, unit_tracks: int, units: Iterable[str]) -> str:
    return digest_of([seed, unit_tracks, *units])


def _deal(names: list[str], count: int) -> list[list[str]]:
    small, larger = divmod(len(names), count)
    sizes = [small + (number < larger) for number in range(count)]
    ends = accumulate(sizes)
    return [names[end - size : end] for end, size in zip(ends, sizes, strict=True)]

"""Freeze the work: tracks -> units, the same for the same seed on any machine."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

from pydantic import ValidationError

from pipelines.config import FmaConfig
from storage.config import digest_of
from storage.errors import DataError, ManifestError
from storage.files import read_json, write_json
from storage.layout import Corpus
from storage.records import Record, Track, Unit, plain


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
        """Return the sha256 of the whole plan."""
        return digest_of(plain(self))


def make_plan(tracks: Sequence[Track], config: FmaConfig) -> Plan:
    """Deal tracks into units of at most `unit_tracks`, of sizes that differ by one at most.

    The order is `shuffled`'s: neighbours in the archive, often one album, end up far apart.

    Raises:
        DataError: there is no track, or two have one id.
    """
    ids = [track.id for track in tracks]
    if not ids or len(set(ids)) != len(ids):
        twice = [name for name, times in Counter(ids).items() if times > 1][:5]
        raise DataError(f"a plan needs tracks with distinct ids; got {len(ids)}, repeated: {twice}")
    by_id = {track.id: track for track in tracks}
    order = shuffled(ids, config.seed)
    count = -(-len(order) // config.unit_tracks)
    units = (
        Unit(id=f"{number:04d}", tracks=tuple(by_id[name] for name in names))
        for number, names in enumerate(_deal(order, count))
    )
    return Plan(seed=config.seed, unit_tracks=config.unit_tracks, units=tuple(units))


def shuffled(names: Sequence[str], seed: int) -> list[str]:
    """Return names in the order of sha256("<seed>:<name>").

    A hash, not a random generator: no library's next release can change the order, and where a
    name lands does not depend on the others.
    """
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())


def write_plan(corpus: Corpus, plan: Plan) -> None:
    """Write a plan where its corpus keeps it."""
    write_json(corpus.plan, plain(plan))


def read_plan(corpus: Corpus) -> Plan:
    """Read a corpus's plan; raise `ManifestError` if it is missing or malformed."""
    try:
        return Plan.model_validate(read_json(corpus.plan))
    except ValidationError as error:
        raise ManifestError(
            f"{corpus.plan} is no plan ({error.errors()[0]['msg']}); delete it and plan again"
        ) from error


def _deal(order: list[str], count: int) -> list[list[str]]:
    small, larger = divmod(len(order), count)
    sizes = [small + (number < larger) for number in range(count)]
    ends = accumulate(sizes)
    return [order[end - size : end] for end, size in zip(ends, sizes, strict=True)]

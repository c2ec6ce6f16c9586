"""The units of a planned corpus: the work of packing each, which are done, their sums."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from flows.stages.stage import Watch
from pipelines.config import FmaConfig
from pipelines.packing.unit_work import (
    LEDGER,
    STAGE,
    VERSION,
    PackingPool,
    PackingTurn,
    PackRequest,
    corpus_key,
    unit_work,
)
from pipelines.tracks.plan import Outline, StoredPlan, read_outline, read_units
from pipelines.workers.fan_out import cores
from storage.config import Json, digest_of
from storage.errors import ManifestError
from storage.home import marks
from storage.home.failures import last_failure
from storage.home.layout import Corpus, Home
from storage.home.marks import Lookup, Mark, Work
from storage.tally import Tally

PACKING_TASKS = 150
"""At most, of one flow run: beyond some 200 tasks the server lags and its graph goes blank."""
UNITS_PER_CORE = 4
"""In one task, unless `units_per_task` says otherwise."""

Done = Mapping[str, Mark]
"""Marks of packed units by the units' ids."""


@dataclass(frozen=True)
class Units:
    """The units of a planned corpus. Their tracks are read only when they are packed."""

    home: Home
    plan: Mark
    config: FmaConfig
    outline: Outline

    @classmethod
    def of(cls, home: Home, plan: Mark, config: FmaConfig) -> Self:
        """Read a plan's outline; raise `ManifestError` if it is missing or malformed."""
        outline = read_outline(Corpus(plan.path(home, "plan.json").parent))
        return cls(home, plan, config, outline)

    @cached_property
    def corpus(self) -> Corpus:
        """The folder that the units are packed into."""
        return self.home.corpus("fma", corpus_key(self.outline, self.config))

    @cached_property
    def works(self) -> dict[str, Work]:
        """The work of packing each unit, by its id."""
        return {unit.id: unit_work(unit, self.config, self.corpus) for unit in self.outline.units}

    def stored(self) -> StoredPlan:
        """Return the plan with its tracks, downloaded to this machine."""
        return StoredPlan(Corpus(self.plan.path(self.home, "units.jsonl").parent), self.outline)

    def look(self, deep: bool = False) -> dict[str, Lookup]:
        """Look every unit up, by its id."""
        found = marks.lookup_all(self.home, list(self.works.values()), deep)
        return dict(zip(self.works, found, strict=True))

    def failures(self) -> dict[str, str]:
        """Return the recorded reason of each unit's last failure, by its id."""
        ids = {work.key: name for name, work in self.works.items()}
        notes = self.home.store.listing(self.home.relative(self.home.marks / STAGE))
        found = {}
        for note in sorted(notes):
            key, _, kind = note.rpartition("/")[2].partition(".")
            if kind == "failed" and key in ids:
                found[ids[key]] = last_failure(self.home, self.works[ids[key]])
        return found

    def requests(self, wanted: Sequence[str], archive: str) -> list[PackRequest]:
        """Return the requests to pack units, given by their ids; only their tracks are read."""
        chosen = set(wanted)
        planned = [unit for unit in self.outline.units if unit.id in chosen]
        source = self.outline.source.model_copy(update={"location": archive})
        corpus = self.home.relative(self.corpus.root)
        return [
            PackRequest(self.home.url, corpus, source, unit, self.config)
            for unit in read_units(self.stored().corpus, planned)
        ]

    def pack(
        self, wanted: Sequence[str], archive: str, watch: Watch, turn: PackingTurn | None = None
    ) -> dict[str, Mark]:
        """Pack some units, given by their ids, in `turn`'s pool; return their marks."""
        from pipelines.packing.engines import pack_all

        if not Path(archive).exists():
            # Another machine made it in this home.
            self.home.fetch(Path(archive))
        done: list[Mark] = []

        def count(mark: Mark) -> None:
            done.append(mark)
            watch(len(done), len(wanted), "units")

        requests = self.requests(wanted, archive)
        packed = pack_all(requests, self.config, count, turn, watch.waits)
        return {request.unit.id: mark for request, mark in zip(requests, packed, strict=True)}

    def gather(self, done: Done) -> Mark:
        """Return one mark for all units, whose digest is the census's input.

        Raises:
            ManifestError: a unit is not packed.
        """
        lacking = [unit.id for unit in self.outline.units if unit.id not in done]
        if lacking:
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            raise ManifestError(
                f"unit {lacking[0]}{more} of {self.corpus.root} is not packed; run again"
            )
        return merge_marks([unit.id for unit in self.outline.units], done)

    def fetch_ledgers(self, done: Done) -> None:
        """Download all units' ledgers to this machine."""
        marks.fetch(self.home, done.values(), lambda output: output.label == LEDGER)


def open_pool(workers: int) -> AbstractContextManager[PackingPool]:
    """Open a pool of so many packing threads; 0: one for each core."""
    from pipelines.packing.pack import packing_pool

    return packing_pool(workers)


def merge_marks(ids: Sequence[str], done: Done) -> Mark:
    """Return one mark for several units, never written; it changes when one of their marks does.

    A census has thousands of units, but is keyed, logged and drawn as having one input.
    """
    chosen = [done[name] for name in ids]
    return Mark(
        stage=STAGE,
        version=VERSION,
        key=digest_of([mark.key for mark in chosen])[:16],
        config={},
        inputs={},
        outputs=(),
        digest=digest_of([[name, done[name].digest] for name in ids]),
        facts=_sums(chosen),
        seconds=round(sum(mark.seconds for mark in chosen), 3),
        built_by={},
        finished=max((mark.finished for mark in chosen), default=""),
    )


def batched(names: Sequence[str], config: FmaConfig, most: int = PACKING_TASKS) -> list[list[str]]:
    """Divide units into batches, one for each task, and at most `most` of them.

    On this machine batches overlap: the next one begins while the last units of the one before are
    packed, so that their size matters only at the very end, where it evens out how long units
    take. A cluster gets all units at once, as it has a queue of its own.
    """
    enough = UNITS_PER_CORE * cores() if config.engine == "local" else len(names)
    size = max(config.units_per_task or enough, -(-len(names) // max(most, 1)), 1)
    return [list(names[start : start + size]) for start in range(0, len(names), size)]


def _sums(chosen: Sequence[Mark]) -> Json:
    """Add up what units' marks count."""
    names = ("tracks", "clips", "hours", "bytes_in", "cpu_seconds")
    sums = {name: sum(mark.facts.get(name, 0) for mark in chosen) for name in names}
    rounded = {name: round(value, 3) for name, value in sums.items()}
    tally = sum((Tally.from_facts(mark.facts) for mark in chosen), Tally())
    return {"units": len(chosen), **rounded, **tally.as_facts()}

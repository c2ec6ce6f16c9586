"""Who takes a study's stages in order: a run (`engine/tasks.py`), or a dry run that looks them up.

A study's graph calls `Runner.do` for every stage and gives each the products of those before it.
What a product is, the runner decides: a future of a mark, a mark, or a stage's status.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from flows.stage_id import PackId, StageId
from flows.stages.archives import ArchiveConfig
from flows.stages.stage import Stage
from flows.stages.units import Units
from pipelines.config import FmaConfig
from storage.config import Config, Json
from storage.home import marks
from storage.home.failures import last_failure
from storage.home.layout import Home
from storage.home.marks import Mark, Work

Product = TypeVar("Product")
"""What a runner returns for a stage, to be another stage's input."""

State = Literal["done", "missing", "failed", "waiting"]


class Runner(Protocol[Product]):
    """Whatever a study's stages are given to, in order."""

    def do(
        self, what: StageId, stage: Stage, config: Config, settings: Json, **inputs: Product
    ) -> Product:
        """Take one stage; return its product. An id is taken once: again, the same product."""

    def pack(self, config: FmaConfig, archive: str, plan: Product) -> Product:
        """Take the packing of all of a plan's units; return one product for all of them."""


@dataclass(frozen=True)
class VariantRunner(Runner[Product]):
    """A runner for the stages that are one variant's own: their ids name the variant."""

    runner: Runner[Product]
    variant: str

    def do(
        self, what: StageId, stage: Stage, config: Config, settings: Json, **inputs: Product
    ) -> Product:
        """Take one stage."""
        return self.runner.do(what.of(self.variant), stage, config, settings, **inputs)

    def pack(self, config: FmaConfig, archive: str, plan: Product) -> Product:
        """Take the packing of all of a plan's units."""
        return self.runner.pack(config, archive, plan)


@dataclass(frozen=True)
class StageStatus:
    """What is known of one stage before anything runs."""

    id: StageId
    state: State
    """`waiting`: for what it needs."""
    why: str = ""
    stage: Stage | None = None
    work: Work | None = None
    mark: Mark | None = None
    config: Config | None = None
    units: "tuple[StageStatus, ...]" = ()
    """Of packing: every unit."""
    size: int = 0
    """Of a unit: bytes to read."""
    archive: Path | None = None
    """Of packing: where the archive may be."""

    @property
    def label(self) -> str:
        """What people call the stage."""
        return self.id.label

    @property
    def lacks(self) -> str:
        """Say which archive is not there, if this is the check of one that is not."""
        if not isinstance(self.config, ArchiveConfig) or self.config.mtime_ns:
            return ""
        return (
            f"archive {self.config.path} is missing; put it there, or name its folder with "
            "'--set data.root=DIR'"
        )


@dataclass
class DryRun(Runner[StageStatus]):
    """A runner that does nothing: it looks every stage up in a home."""

    home: Home
    deep: bool = False
    statuses: list[StageStatus] = field(default_factory=list)
    _packed: dict[tuple[str, str], StageStatus] = field(default_factory=dict)

    def do(
        self, what: StageId, stage: Stage, config: Config, settings: Json, **inputs: StageStatus
    ) -> StageStatus:
        """Look one stage up; an id is looked up once."""
        for known in self.statuses:
            if known.id == what:
                return known
        status = self._look(what, stage, config, inputs)
        self.statuses.append(status)
        return status

    def _look(
        self, what: StageId, stage: Stage, config: Config, inputs: Mapping[str, StageStatus]
    ) -> StageStatus:
        made = {name: given.mark for name, given in inputs.items() if given.mark}
        if len(made) < len(inputs):
            missing = list(dict.fromkeys(one.label for one in inputs.values() if not one.mark))
            more = f" and {len(missing) - 2} more" if len(missing) > 2 else ""
            why = f"needs {', '.join(missing[:2])}{more}"
            return StageStatus(what, "waiting", why, stage, config=config)
        work = stage.work(config, made)
        found = marks.lookup(self.home, work, self.deep)
        failure = last_failure(self.home, work)
        state: State = "done" if found.mark else "failed" if failure else "missing"
        why = "" if found.mark else failure or found.why
        return StageStatus(what, state, why, stage, work, found.mark, config)

    def pack(self, config: FmaConfig, archive: str, plan: StageStatus) -> StageStatus:
        """Look every unit up; a corpus is looked up once."""
        what = PackId.whole()
        # Scales of one archive may differ by their plans alone.
        corpus = (plan.mark.digest if plan.mark else plan.label, config.digest())
        if corpus in self._packed:
            return self._packed[corpus]
        if plan.mark is None:
            status = StageStatus(what, "waiting", f"needs {plan.label}", config=config)
        else:
            status = self._look_at_units(what, Units.of(self.home, plan.mark, config))
        self._packed[corpus] = replace(status, archive=Path(archive))
        self.statuses.append(self._packed[corpus])
        return self._packed[corpus]

    def _look_at_units(self, what: PackId, units: Units) -> StageStatus:
        found = units.look(self.deep)
        done = {name: one.mark for name, one in found.items() if one.mark}
        failures = units.failures() if len(done) < len(found) else {}
        seen = []
        for unit in units.outline.units:
            work, one = units.works[unit.id], found[unit.id]
            failure = "" if one.mark else failures.get(unit.id, "")
            state: State = "done" if one.mark else "failed" if failure else "missing"
            why = failure or one.why
            seen.append(StageStatus(what, state, why, work=work, mark=one.mark, size=unit.bytes))
        left = [status for status in seen if status.mark is None]
        failed = [status for status in left if status.state == "failed"]
        return StageStatus(
            what,
            "failed" if failed else "missing" if left else "done",
            _first_of(failed or left),
            mark=None if left else units.gather(done),
            config=units.config,
            units=tuple(seen),
        )


def _first_of(units: Sequence[StageStatus]) -> str:
    if not units:
        return ""
    return f"{units[0].why} and {len(units) - 1} more" if len(units) > 1 else units[0].why

"""The line a study is sent down: for real (`tasks.py`), or only looked at (`DryRun`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from flows.stages.archives import ArchiveConfig
from flows.stages.stage import Stage
from flows.stages.units import Units
from pipelines.config import FmaConfig
from storage.config import Config, Json
from storage.home import marks
from storage.home.failures import last_failure
from storage.home.layout import Home
from storage.home.marks import Mark, Work

Product = Any
"""What a stage will leave: a future of its mark, or what is known of it."""


class Runner(Protocol):
    """Whatever a study's stages are handed to, in order."""

    def do(
        self, label: str, stage: Stage, config: Config, settings: Json, **inputs: Product
    ) -> Product:
        """Hand one stage on; return its product, to be another's input."""

    def pack(self, config: FmaConfig, archive: str, plan: Product) -> Mapping[str, Product]:
        """Hand on the packing of all of a plan's units; return one product, by its input name."""


@dataclass(frozen=True)
class StageStatus:
    """What is known of one stage before anything runs."""

    label: str
    state: str
    """`done`, `missing`, `failed` or `waiting` (for what it needs)."""
    why: str = ""
    stage: Stage | None = None
    work: Work | None = None
    mark: Mark | None = None
    config: Config | None = None
    units: "tuple[StageStatus, ...]" = ()
    """Of packing: every unit."""
    size: int = 0
    """Of a unit: bytes to read."""

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
class DryRun:
    """A line on which nothing is done: it looks every stage up."""

    home: Home
    deep: bool = False
    outlooks: list[StageStatus] = field(default_factory=list)

    def do(
        self, label: str, stage: Stage, config: Config, settings: Json, **inputs: Product
    ) -> StageStatus:
        """Look one stage up; a label is looked up once."""
        known = {outlook.label: outlook for outlook in self.outlooks}
        if label not in known:
            known[label] = self._look(label, stage, config, inputs)
            self.outlooks.append(known[label])
        return known[label]

    def _look(
        self, label: str, stage: Stage, config: Config, inputs: Mapping[str, Product]
    ) -> StageStatus:
        missing = list(dict.fromkeys(given.label for given in inputs.values() if not given.mark))
        if missing:
            more = f" and {len(missing) - 2} more" if len(missing) > 2 else ""
            why = f"needs {', '.join(missing[:2])}{more}"
            return StageStatus(label, "waiting", why, stage, config=config)
        work = stage.work(config, {name: given.mark for name, given in inputs.items()})
        found = marks.lookup(self.home, work, self.deep)
        failure = last_failure(self.home, work)
        state = "done" if found.mark else "failed" if failure else "missing"
        why = "" if found.mark else failure or found.why
        return StageStatus(label, state, why, stage, work, found.mark, config)

    def pack(self, config: FmaConfig, archive: str, plan: Product) -> Mapping[str, StageStatus]:
        """Look every unit up; a corpus is looked up once."""
        for known in self.outlooks:
            if known.label == "pack" and known.config == config:
                return {"pack": known}
        if plan.mark is None:
            outlook = StageStatus("pack", "waiting", f"needs {plan.label}", config=config)
        else:
            outlook = self._look_at_units(Units.of(self.home, plan.mark, config))
        self.outlooks.append(outlook)
        return {"pack": outlook}

    def _look_at_units(self, units: Units) -> StageStatus:
        found = units.look(self.deep)
        done = {name: stand.mark for name, stand in found.items() if stand.mark}
        failures = units.failures() if len(done) < len(found) else {}
        seen = []
        for unit in units.outline.units:
            work, stand = units.works[unit.id], found[unit.id]
            failure = "" if stand.mark else failures.get(unit.id, "")
            state = "done" if stand.mark else "failed" if failure else "missing"
            why = failure or stand.why
            seen.append(
                StageStatus("pack", state, why, work=work, mark=stand.mark, size=unit.bytes)
            )
        left = [outlook for outlook in seen if outlook.mark is None]
        failed = [outlook for outlook in left if outlook.state == "failed"]
        state = "failed" if failed else "missing" if left else "done"
        return StageStatus(
            "pack",
            state,
            _first_of(failed or left),
            mark=None if left else units.gather(done),
            config=units.config,
            units=tuple(seen),
        )


def _first_of(units: Sequence[StageStatus]) -> str:
    if not units:
        return ""
    return f"{units[0].why} and {len(units) - 1} more" if len(units) > 1 else units[0].why

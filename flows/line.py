"""The line a study is sent down: for real (`tasks.py`), or only looked at (`Prospect`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from flows.corpora import pack_requests, work_of
from flows.stages import Stage, last_failure
from pipelines.config import FmaConfig
from storage import marks
from storage.config import Config, Json
from storage.layout import Home
from storage.marks import Mark, Work

Product = Any
"""What a stage will leave: a future of its mark, or what is known of it."""


class Line(Protocol):
    """Whatever a study's stages are handed to, in order."""

    def do(
        self, label: str, stage: Stage, config: Config, settings: Json, **inputs: Product
    ) -> Product:
        """Hand one stage on; return its product, to be another's input."""

    def pack(self, config: FmaConfig, archive: str, plan: Product) -> Mapping[str, Product]:
        """Hand on the packing of all of a plan's units; return the products by input name."""


@dataclass(frozen=True)
class Outlook:
    """What is known of one stage before anything runs."""

    label: str
    state: str
    """`done`, `missing`, `failed` or `waiting` (for what it needs)."""
    why: str = ""
    stage: Stage | None = None
    work: Work | None = None
    mark: Mark | None = None
    config: Config | None = None
    units: "tuple[Outlook, ...]" = ()
    """Of packing: every unit."""


@dataclass
class Prospect:
    """A line on which nothing is done: it looks every stage up."""

    home: Home
    deep: bool = False
    outlooks: list[Outlook] = field(default_factory=list)

    def do(
        self, label: str, stage: Stage, config: Config, settings: Json, **inputs: Product
    ) -> Outlook:
        """Look one stage up."""
        missing = {given.label: None for given in inputs.values() if given.mark is None}
        if missing:
            why = f"needs {', '.join(missing)}"
            outlook = Outlook(label, "waiting", why, stage, config=config)
        else:
            work = stage.work(config, {name: given.mark for name, given in inputs.items()})
            found = marks.standing(self.home, work, self.deep)
            failure = last_failure(self.home, work)
            state = "done" if found.mark else "failed" if failure else "missing"
            why = "" if found.mark else failure or found.why
            outlook = Outlook(label, state, why, stage, work, found.mark, config)
        self.outlooks.append(outlook)
        return outlook

    def pack(self, config: FmaConfig, archive: str, plan: Product) -> Mapping[str, Outlook]:
        """Look every unit up."""
        if plan.mark is None:
            outlook = Outlook("pack", "waiting", f"needs {plan.label}", config=config)
            self.outlooks.append(outlook)
            return {"unit": outlook}
        found: dict[str, Outlook] = {}
        for name, request in pack_requests(self.home, plan.mark, config).items():
            work = work_of(request)
            stand = marks.standing(self.home, work, self.deep)
            state = "done" if stand.mark else "missing"
            found[name] = Outlook("pack", state, stand.why, work=work, mark=stand.mark)
        self.outlooks.append(_gathered(found, config))
        return found


def _gathered(units: Mapping[str, Outlook], config: FmaConfig) -> Outlook:
    missing = [unit for unit in units.values() if unit.mark is None]
    state = "missing" if missing else "done"
    why = f"{missing[0].why} and {len(missing) - 1} more" if len(missing) > 1 else ""
    why = missing[0].why if len(missing) == 1 else why
    return Outlook("pack", state, why, config=config, units=tuple(units.values()))

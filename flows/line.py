"""The line a study is sent down: for real (`tasks.py`), or only looked at (`Prospect`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from flows.corpora import ArchiveConfig, pack_requests, work_of
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
class Prospect:
    """A line on which nothing is done: it looks every stage up."""

    home: Home
    deep: bool = False
    outlooks: list[Outlook] = field(default_factory=list)

    def do(
        self, label: str, stage: Stage, config: Config, settings: Json, **inputs: Product
    ) -> Outlook:
        """Look one stage up; a label is looked up once."""
        known = {outlook.label: outlook for outlook in self.outlooks}
        if label not in known:
            known[label] = self._look(label, stage, config, inputs)
            self.outlooks.append(known[label])
        return known[label]

    def _look(
        self, label: str, stage: Stage, config: Config, inputs: Mapping[str, Product]
    ) -> Outlook:
        missing = list(dict.fromkeys(given.label for given in inputs.values() if not given.mark))
        if missing:
            more = f" and {len(missing) - 2} more" if len(missing) > 2 else ""
            why = f"needs {', '.join(missing[:2])}{more}"
            return Outlook(label, "waiting", why, stage, config=config)
        work = stage.work(config, {name: given.mark for name, given in inputs.items()})
        found = marks.standing(self.home, work, self.deep)
        failure = last_failure(self.home, work)
        state = "done" if found.mark else "failed" if failure else "missing"
        why = "" if found.mark else failure or found.why
        return Outlook(label, state, why, stage, work, found.mark, config)

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

"""The runner that does a study under Prefect; a stage that was done before is `Cached`."""

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from prefect.logging import get_run_logger
from prefect.states import Completed

from flows.config import LimitsConfig
from flows.engine.machine_slots import slots
from flows.engine.packing import Packing
from flows.engine.shared_slot import SharedSlot
from flows.engine.task_policy import MarkFuture, Outcome, as_task
from flows.jobs.deadlines import TimeLimit, stopping
from flows.stage_id import PackId, Role, StageId
from flows.stages.stage import Inputs, Performed, Site, Stage, perform
from flows.stages.training import processes_of
from flows.stages.units import PACKING_TASKS, Units, open_pool
from flows.studies.disk_space import Need, shortage
from flows.studies.runner import Runner
from flows.ui.progress import Board, StageWatch
from flows.ui.states import StateName
from pipelines.config import FmaConfig
from storage.config import Config, Json
from storage.errors import LockedError, MachineError, RunError, StoppedError
from storage.home.layout import Home
from storage.home.marks import Mark, Work, lookup

LOCK_SECONDS = 2.0
"""Between two looks at a stage that another run of the same home is doing."""


def time_limit(limits: LimitsConfig, role: Role) -> TimeLimit:
    """Return how long a stage may take, and the setting that limits it."""
    match role:
        case Role.TRAINING:
            return TimeLimit(limits.training_hours, "limits.training_hours")
        case Role.SELECTION:
            return TimeLimit(limits.selection_hours, "limits.selection_hours")
        case Role.EVALUATION:
            return TimeLimit(limits.evaluation_hours, "limits.evaluation_hours")
        case Role.PACKING:
            return TimeLimit(limits.packing_hours, "limits.packing_hours")
        case _:
            return TimeLimit(limits.other_hours, "limits.other_hours")


@dataclass
class PrefectRunner(Runner[MarkFuture]):
    """The runner that does a study: a stage is a Prefect task, a product a future of its mark."""

    home: Home
    board: Board
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    corpora: int = 1
    """That this run packs: they share its packing tasks."""
    run: str = "a run"
    """What other runs of this machine call this one while they wait for it."""
    before_gpu: Callable[[Iterable[MarkFuture]], None] | None = None
    """Called with its inputs before each GPU job; may wait, or raise to end the run."""
    futures: dict[StageId, MarkFuture] = field(default_factory=dict)
    _needs: list[Need] = field(default_factory=list)
    """What the corpora of this run still write."""

    def __post_init__(self) -> None:
        # A task that waits for the server's limit asks for it only now and then. So jobs of one
        # flow take turns here, where the next one is let in at once; packing tasks share one slot.
        self._turns: dict[str, AbstractContextManager[Any]] = {
            "gpu": threading.Semaphore(self.limits.gpu_jobs),
            "light": nullcontext(),
        }
        self._packing_slot = SharedSlot(lambda say: slots("packing", self.run, say), open_pool)

    def do(
        self, what: StageId, stage: Stage, config: Config, settings: Json, **inputs: MarkFuture
    ) -> MarkFuture:
        """Submit one stage; an id is submitted once."""
        if stage.kind == "gpu" and self.before_gpu:
            self.before_gpu(inputs.values())
        if what not in self.futures:

            def body(**given: Mark) -> Outcome:
                watch = StageWatch(what, self.board, stage.role)
                key, limit = stage.work(config, given).key, time_limit(self.limits, stage.role)
                site = Site(self.home, key, watch, settings, limit)
                return self._perform(site, watch, Planned(stage, config, given))

            self.futures[what] = as_task(body, what, stage.kind).submit(**inputs)
        return self.futures[what]

    def pack(self, config: FmaConfig, archive: str, plan: MarkFuture) -> MarkFuture:
        """Submit the packing of those units that are not packed, some a task, then their sum.

        Raises:
            RunError: there is no plan, because what it needs failed.
            MachineError: the disk has no room for what it would write.
        """
        plan.wait()
        if not plan.state.is_completed():
            raise RunError("nothing can be packed without a plan")
        packed = sum(what == PackId.whole(what.variant) for what in self.futures)
        packing = Packing(
            units=Units.of(self.home, plan.result(), config),
            corpus=f"({Path(archive).name} {packed})" if packed else "",
            board=self.board,
            slot=self._packing_slot,
            limit=time_limit(self.limits, Role.PACKING),
        )
        self._require_room(packing)
        self.futures |= packing.submit(archive, plan, PACKING_TASKS // self.corpora)
        return self.futures[packing.whole]

    def _require_room(self, packing: Packing) -> None:
        self._needs.append(packing.need)
        if not (lacking := shortage(self._needs)):
            return
        if self.limits.short_of_disk == "refuse":
            raise MachineError(lacking)
        get_run_logger().warning(lacking)

    def _perform(self, site: Site, watch: StageWatch, planned: "Planned") -> Outcome:
        """Do one stage when its turn comes; a stage done before is `Cached`."""
        stage = planned.stage
        mark = lookup(site.home, planned.work).mark
        cached = mark is not None
        if mark is None:
            log = get_run_logger()
            if stage.kind == "gpu":
                log.info("%s waits for its turn at the GPU", watch.label)
            count = processes_of(planned.config)
            with self._turns[stage.kind], slots(stage.kind, self.run, watch.waits, count):
                log.info("%s begins", watch.label)
                with watch.working():
                    mark, cached = wait_for_lock(lambda: planned.perform(site), watch.waits)
        if cached:
            watch.reuse(mark)
            return Completed(name=StateName.CACHED, message=f"{stage.name} {mark.key}", data=mark)
        get_run_logger().info("%s done in %.1f s: %s", stage.name, mark.seconds, mark.facts)
        watch.finish(f"done in {mark.seconds:.1f} s", mark)
        return mark


class Planned(NamedTuple):
    """A stage whose inputs are there."""

    stage: Stage
    config: Config
    inputs: Inputs

    @property
    def work(self) -> Work:
        """The work that the stage is."""
        return self.stage.work(self.config, self.inputs)

    def perform(self, site: Site) -> Performed:
        """Do the stage if it is not done; see `flows.stages.stage.perform`."""
        return perform(site, self.stage, self.config, self.inputs)


def wait_for_lock(work: Callable[[], Performed], log: Callable[[str], None]) -> Performed:
    """Do a stage; while another run of this home is doing it, wait and take its result.

    A lock dies with its holder, so this ends; the wait is logged once.

    Raises:
        StoppedError: the flow was stopped meanwhile.
    """
    logged = False
    while True:
        try:
            return work()
        except LockedError as error:
            if not logged:
                log(f"waits for another run: {error}")
                logged = True
        if stopping.wait(LOCK_SECONDS):
            raise StoppedError(
                "stopped with its flow, while another run did this; run it again to continue"
            )

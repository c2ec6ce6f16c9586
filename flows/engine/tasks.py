"""How Prefect runs stages: names, tags, retries, limits and `Cached` states. Policy lives here."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.concurrency.sync import concurrency
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed

from flows.config import LimitsConfig
from flows.engine.shared_slot import SharedSlot
from flows.jobs.deadlines import TimeLimit, stopping, within
from flows.recovery.machine_limits import capacity, limit_name
from flows.stages.stage import Inputs, Performed, Site, Stage, perform
from flows.stages.training import processes_of
from flows.stages.units import PACKING_TASKS, Units, batched, merge_marks
from flows.studies.runner import Product
from flows.ui.progress import Board, StageWatch
from flows.ui.states import StateName
from pipelines.config import FmaConfig
from storage.config import Config, Json
from storage.errors import (
    LockedError,
    MachineError,
    PreemptedError,
    RunError,
    StoppedError,
    TimeLimitError,
)
from storage.home.layout import Home
from storage.home.marks import Mark, lookup

BEFORE = "packed before"
"""What the units are called together that earlier runs packed."""
LEASE_SECONDS = 60
SLOT_SECONDS = 15.0
"""Between two looks at whether a stage that waits for its turn is to be done at all."""
LOCK_SECONDS = 2.0
"""Between two looks at a stage that another run of the same home is doing."""
RETRIES = 2
RETRY_SECONDS = [10.0, 60.0]


def is_transient(_task: Any, _run: TaskRun, state: State[Any]) -> bool:
    """Say whether trying again can help: broken connections and the like, never bad data.

    A job that somebody stopped goes on from its last checkpoint.
    """
    error = state.result(raise_on_failure=False)
    if isinstance(error, PreemptedError):
        return True
    return isinstance(error, OSError) and not isinstance(error, MachineError)


def time_limit(limits: LimitsConfig, stage: str, kind: str = "light") -> TimeLimit:
    """Return how long a stage may take, and the setting that says so."""
    known = {
        "train": TimeLimit(limits.training_hours, "limits.training_hours"),
        "select-channels": TimeLimit(limits.selection_hours, "limits.selection_hours"),
        "evaluate": TimeLimit(limits.evaluation_hours, "limits.evaluation_hours"),
        "packing": TimeLimit(limits.packing_hours, "limits.packing_hours"),
    }
    other = TimeLimit(limits.other_hours, "limits.other_hours")
    return known.get(kind, known.get(stage, other))


@dataclass
class PrefectRunner:
    """The line on which a study really runs: each stage a Prefect task, each product a future."""

    home: Home
    board: Board
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    futures: dict[str, PrefectFuture[Any]] = field(default_factory=dict)
    corpora: int = 1
    """That this run packs: they share its tasks."""
    suffix: str = ""
    """Of packing's labels, where a run packs several corpora."""

    def __post_init__(self) -> None:
        # Whoever waits for the server's limit asks it only now and then. So jobs of one flow take
        # turns here, where the next one is let in at once; and so do packing tasks, each of which
        # uses every core.
        self._turns: dict[str, AbstractContextManager[Any]] = {
            "gpu": threading.Semaphore(self.limits.gpu_jobs),
            "light": nullcontext(),
        }
        self._packing = SharedSlot(lambda: _slots("packing"))

    def do(
        self, label: str, stage: Stage, config: Config, settings: Json, **inputs: Product
    ) -> PrefectFuture[Any]:
        """Submit one stage; a label is submitted once."""
        if label not in self.futures:

            def body(**given: Any) -> Any:
                watch = StageWatch(label, self.board)
                key, limit = stage.work(config, given).key, time_limit(self.limits, stage.name)
                site = Site(self.home, key, watch, settings, limit)
                return self._perform(site, stage, config, given)

            self.futures[label] = _as_task(body, label, stage.kind).submit(**inputs)
        return self.futures[label]

    def pack(
        self, config: FmaConfig, archive: str, plan: Product
    ) -> Mapping[str, PrefectFuture[Any]]:
        """Submit the packing of those units that are not packed, some a task, then their sum.

        All units are looked up here once: a rerun has a task for what is left, and none for each
        batch that was done before.

        Raises:
            RunError: there is no plan, because what it needs failed.
        """
        plan.wait()
        if not plan.state.is_completed():
            raise RunError("nothing can be packed without a plan")
        units = Units.of(self.home, plan.result(), config)
        done = {name: found.mark for name, found in units.look().items() if found.mark}
        left = [name for name in units.works if name not in done]
        if done and left:
            before = merge_marks([*done], done)
            self.board.conclude(BEFORE + self.suffix, "cached", f"{len(done)} units", before)
        dealt = batched(left, config, PACKING_TASKS // self.corpora)
        batches = [self._pack(units, archive, plan, batch) for batch in dealt]
        return {"pack": self._gather(units, plan, done, batches)}

    def _pack(
        self, units: Units, archive: str, plan: Product, names: list[str]
    ) -> PrefectFuture[Any]:
        label = _batch_label(names) + self.suffix
        limit = time_limit(self.limits, "pack", "packing")

        def body(plan: Mark) -> Mark:
            watch = StageWatch(label, self.board)
            with self._packing.turn(), watch.working(), within(limit, label):
                mark = merge_marks(names, units.pack(names, archive, watch))
            watch.finish(f"{len(names)} units packed", mark)
            return mark

        self.futures[label] = _as_task(body, label, "packing").submit(plan=plan)
        return self.futures[label]

    def _gather(
        self,
        units: Units,
        plan: Product,
        done: dict[str, Mark],
        batches: list[PrefectFuture[Any]],
    ) -> PrefectFuture[Any]:
        """Submit what waits for all batches and leaves one mark for all units."""
        label = f"pack{self.suffix}"

        def body(plan: Mark, batches: list[Mark]) -> Any:
            watch = StageWatch(label, self.board)
            if not batches:
                mark = units.gather(done)
                watch.reuse(mark)
                message = f"{len(done)} units were packed before"
                return Completed(name=StateName.CACHED, message=message, data=mark)
            with watch.working():
                found = {name: stand.mark for name, stand in units.look().items() if stand.mark}
                mark = units.gather(found)
            watch.finish(f"all {len(found)} units are packed, {len(done)} of them before", mark)
            return mark

        task = _as_task(body, label, "light")
        self.futures[label] = task.submit(plan=plan, batches=batches)
        return self.futures[label]

    def _perform(self, site: Site, stage: Stage, config: Config, marks: Inputs) -> Any:
        """Do one stage when its turn comes; a stage done before is `Cached`."""
        watch = cast("StageWatch", site.watch)
        mark = lookup(site.home, stage.work(config, marks)).mark
        cached = mark is not None
        if mark is None:
            log = get_run_logger()
            if stage.kind == "gpu":
                log.info("%s waits for its turn at the GPU", watch.label)
            with self._turns[stage.kind], _slots(stage.kind, processes_of(config)):
                log.info("%s begins", watch.label)
                with watch.working():
                    mark, cached = patiently(lambda: perform(site, stage, config, marks), log.info)
        if cached:
            watch.reuse(mark)
            return Completed(name=StateName.CACHED, message=f"{stage.name} {mark.key}", data=mark)
        get_run_logger().info("%s done in %.1f s: %s", stage.name, mark.seconds, mark.facts)
        watch.finish(f"done in {mark.seconds:.1f} s", mark)
        return mark


def patiently(work: Callable[[], Performed], say: Callable[[str], None]) -> Performed:
    """Do a stage; while another run of this home is doing it, wait and take what comes of it.

    A lock dies with its holder, so this ends; `say` is told once why nothing happens.

    Raises:
        StoppedError: the flow was stopped meanwhile.
    """
    said = False
    while True:
        try:
            return work()
        except LockedError as error:
            if not said:
                say(f"waits for another run: {error}")
                said = True
        if stopping.wait(LOCK_SECONDS):
            raise StoppedError(
                "stopped with its flow, while another run did this; again, it goes on"
            )


def _as_task(body: Callable[..., Any], label: str, kind: str) -> Any:
    decorate: Any = task(
        name=label,
        task_run_name=label,
        tags=[kind],
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=RETRIES,
        retry_delay_seconds=RETRY_SECONDS,
        retry_condition_fn=is_transient,
    )
    return decorate(_truthful(body))


def _truthful(body: Callable[..., Any]) -> Callable[..., Any]:
    """Let what ran out of time, or was stopped, end in a state that says so; neither is retried."""

    @wraps(body)
    def told(**given: Any) -> Any:
        try:
            return body(**given)
        except TimeLimitError as error:
            return Failed(name=StateName.TIMED_OUT, message=str(error), data=error)
        except StoppedError as error:
            return Cancelled(message=str(error))

    return told


def _batch_label(names: list[str]) -> str:
    return f"pack {names[0]}" if len(names) == 1 else f"pack {names[0]} to {names[-1]}"


@contextmanager
def _slots(kind: str, count: int = 1) -> Iterator[None]:
    limit = limit_name(kind)
    if not limit:
        yield
        return
    with ExitStack() as held:
        while True:
            # The lease is short, so that a dead holder's slot comes free by itself; a server that
            # is away for a while must not end a job of days.
            slots = concurrency(
                limit,
                occupy=min(count, capacity(kind)),
                timeout_seconds=SLOT_SECONDS,
                lease_duration=LEASE_SECONDS,
                strict=True,
                raise_on_lease_renewal_failure=False,
            )
            try:
                held.enter_context(slots)
                break
            except TimeoutError:
                if stopping.is_set():
                    raise StoppedError(
                        f"stopped with its flow, while it waited for {limit}"
                    ) from None
        yield

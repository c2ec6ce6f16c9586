"""How Prefect runs stages: names, tags, retries, limits and `Cached` states. Policy lives here."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.concurrency.sync import concurrency
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.states import Completed

from flows.line import Product
from flows.packing import Units, batched, together
from flows.progress import Board, StageWatch
from flows.stages import Inputs, Performed, Site, Stage, perform
from pipelines.config import FmaConfig
from storage.config import Config, Json
from storage.errors import LockedError, MachineError, RunError
from storage.layout import Home
from storage.marks import Mark, standing

GPU_LIMIT = "gpu"
"""The global concurrency limit that GPU jobs share: one at a time, unless it is raised."""
LEASE_SECONDS = 60
LOCK_SECONDS = 2.0
"""Between two looks at a stage that another run of the same home is doing."""
RETRIES = 2
RETRY_SECONDS = [10.0, 60.0]


def is_transient(_task: Any, _run: TaskRun, state: State[Any]) -> bool:
    """Say whether trying again can help: broken connections and the like, never bad data."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, OSError) and not isinstance(error, MachineError)


@dataclass
class PrefectLine:
    """The line on which a study really runs: each stage a Prefect task, each product a future."""

    home: Home
    board: Board
    gpu_jobs: int = 1
    futures: dict[str, PrefectFuture[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Whoever waits for the server's limit asks it only now and then. So jobs of one flow take
        # turns here, where the next one is let in at once; and so do packing tasks, each of which
        # uses every core.
        self._turns: dict[str, AbstractContextManager[Any]] = {
            "gpu": threading.Semaphore(self.gpu_jobs),
            "packing": threading.Semaphore(1),
            "light": nullcontext(),
        }

    def do(
        self, label: str, stage: Stage, config: Config, settings: Json, **inputs: Product
    ) -> PrefectFuture[Any]:
        """Submit one stage; a label is submitted once."""
        if label not in self.futures:

            def body(**given: Any) -> Any:
                watch = StageWatch(label, self.board)
                site = Site(self.home, stage.work(config, given).key, watch, settings)
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
        batches = [self._pack(units, archive, plan, batch) for batch in batched(left, config)]
        return {"pack": self._gather(units, plan, done, batches)}

    def _pack(
        self, units: Units, archive: str, plan: Product, names: list[str]
    ) -> PrefectFuture[Any]:
        label = _batch_label(names)

        def body(plan: Mark) -> Mark:
            watch = StageWatch(label, self.board)
            with self._turns["packing"]:
                done = units.pack(names, archive, watch)
            watch.finish(f"{len(names)} units packed")
            return together(names, done)

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

        def body(plan: Mark, batches: list[Mark]) -> Any:
            watch = StageWatch("pack", self.board)
            if not batches:
                watch.reuse()
                message = f"{len(done)} units were packed before"
                return Completed(name="Cached", message=message, data=units.gather(done))
            found = {name: stand.mark for name, stand in units.look().items() if stand.mark}
            mark = units.gather(found)
            watch.finish(f"all {len(found)} units are packed, {len(done)} of them before")
            return mark

        task = _as_task(body, "pack", "light")
        self.futures["pack"] = task.submit(plan=plan, batches=batches)
        return self.futures["pack"]

    def _perform(self, site: Site, stage: Stage, config: Config, marks: Inputs) -> Any:
        """Do one stage when its turn comes; a stage done before is `Cached`."""
        watch = cast("StageWatch", site.watch)
        mark = standing(site.home, stage.work(config, marks)).mark
        cached = mark is not None
        if mark is None:
            log = get_run_logger()
            if stage.kind == "gpu":
                log.info("waits for its turn at the GPU")
            with self._turns[stage.kind], _slot(stage.kind):
                log.info("begins")
                mark, cached = patiently(lambda: perform(site, stage, config, marks), log.info)
        if cached:
            watch.reuse()
            return Completed(name="Cached", message=f"{stage.name} {mark.key}", data=mark)
        get_run_logger().info("%s done in %.1f s: %s", stage.name, mark.seconds, mark.facts)
        watch.finish(f"done in {mark.seconds:.1f} s")
        return mark


def patiently(work: Callable[[], Performed], say: Callable[[str], None]) -> Performed:
    """Do a stage; while another run of this home is doing it, wait and take what comes of it.

    A lock dies with its holder, so this ends; `say` is told once why nothing happens.
    """
    said = False
    while True:
        try:
            return work()
        except LockedError as error:
            if not said:
                say(f"waits for another run: {error}")
                said = True
        time.sleep(LOCK_SECONDS)


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
    return decorate(body)


def _batch_label(names: list[str]) -> str:
    return f"pack {names[0]}" if len(names) == 1 else f"pack {names[0]} to {names[-1]}"


@contextmanager
def _slot(kind: str) -> Iterator[None]:
    if kind != "gpu":
        yield
        return
    # The lease is short, so that a dead holder's slot comes free by itself; a server that is away
    # for a while must not end a job of days.
    with concurrency(
        GPU_LIMIT, lease_duration=LEASE_SECONDS, strict=True, raise_on_lease_renewal_failure=False
    ):
        yield

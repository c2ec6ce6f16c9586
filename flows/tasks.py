"""How Prefect runs stages: names, tags, retries, limits and `Cached` states. Policy lives here."""

import threading
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

from flows import corpora
from flows.line import Product
from flows.progress import Board, StageWatch
from flows.stages import Inputs, Site, Stage, perform
from pipelines.config import FmaConfig
from pipelines.fanout import cores
from storage.config import Config, Json
from storage.errors import MachineError, RunError
from storage.layout import Home
from storage.marks import Mark, standing

GPU_LIMIT = "gpu"
"""The global concurrency limit that GPU jobs share: one at a time, unless it is raised."""
LEASE_SECONDS = 60
PACKING_TASKS = 150
"""At most, of one flow run: beyond some 200 tasks the server lags and its graph goes blank."""
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
                marks = _flat(given)
                watch = StageWatch(label, self.board)
                site = Site(self.home, stage.work(config, marks).key, watch, settings)
                return self._perform(site, stage, config, marks)

            self.futures[label] = _as_task(body, label, stage.kind).submit(**inputs)
        return self.futures[label]

    def pack(
        self, config: FmaConfig, archive: str, plan: Product
    ) -> Mapping[str, PrefectFuture[Any]]:
        """Submit the packing of a plan's units, some units a task.

        Raises:
            RunError: there is no plan, because what it needs failed.
        """
        plan.wait()
        if not plan.state.is_completed():
            raise RunError("nothing can be packed without a plan")
        names = list(corpora.pack_requests(self.home, plan.result(), config))
        size = config.units_per_task or max(cores(), -(-len(names) // PACKING_TASKS))
        batches = [names[start : start + size] for start in range(0, len(names), size)]
        return {_batch_label(batch): self._pack(config, archive, plan, batch) for batch in batches}

    def _pack(
        self, config: FmaConfig, archive: str, plan: Product, names: list[str]
    ) -> PrefectFuture[Any]:
        label = _batch_label(names)

        def body(plan: Mark) -> Any:
            watch = StageWatch(label, self.board)
            every = corpora.pack_requests(self.home, plan, config, archive)
            requests = {name: every[name] for name in names}
            found = {
                name: standing(self.home, corpora.work_of(request)).mark
                for name, request in requests.items()
            }
            done = {name: mark for name, mark in found.items() if mark}
            if len(done) == len(names):
                watch.reuse()
                return Completed(name="Cached", message=f"{len(names)} units", data=done)
            with self._turns["packing"]:
                marks = corpora.pack(requests, config.workers, watch)
            watch.finish(f"{len(names) - len(done)} units packed")
            return marks

        self.futures[label] = _as_task(body, label, "packing").submit(plan=plan)
        return self.futures[label]

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
                mark, cached = perform(site, stage, config, marks)
        if cached:
            watch.reuse()
            return Completed(name="Cached", message=f"{stage.name} {mark.key}", data=mark)
        get_run_logger().info("%s done in %.1f s: %s", stage.name, mark.seconds, mark.facts)
        watch.finish(f"done in {mark.seconds:.1f} s")
        return mark


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
    first, last = (name.removeprefix("unit ") for name in (names[0], names[-1]))
    return f"pack {first}" if first == last else f"pack {first} to {last}"


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


def _flat(given: Mapping[str, Any]) -> dict[str, Mark]:
    """Spread a packing task's marks among a stage's other inputs."""
    marks: dict[str, Mark] = {}
    for name, value in given.items():
        marks |= value if isinstance(value, dict) else {name: value}
    return marks

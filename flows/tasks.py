"""How Prefect runs stages: names, tags, retries, limits and `Cached` states. Policy lives here."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import batched
from typing import Any

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
from pipelines.pack import pack_units
from storage.config import Config, Json
from storage.errors import MachineError
from storage.layout import Home
from storage.marks import Mark, standing

GPU_LIMIT = "gpu"
"""The global concurrency limit that GPU jobs share: one at a time, unless it is raised."""
LEASE_SECONDS = 60
RETRIES = 2
RETRY_SECONDS = [10.0, 60.0]

_packing = threading.Semaphore(1)
"""A packing task uses every core, so within one process they take turns."""


def is_transient(_task: Any, _run: TaskRun, state: State[Any]) -> bool:
    """Say whether trying again can help: broken connections and the like, never bad data."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, OSError) and not isinstance(error, MachineError)


@dataclass
class PrefectLine:
    """The line on which a study really runs: each stage a Prefect task, each product a future."""

    home: Home
    board: Board
    futures: dict[str, PrefectFuture[Any]] = field(default_factory=dict)

    def do(
        self, label: str, stage: Stage, config: Config, settings: Json, **inputs: Product
    ) -> PrefectFuture[Any]:
        """Submit one stage; a label is submitted once."""
        if label not in self.futures:

            def body(**given: Any) -> Any:
                marks = _flat(given)
                key = stage.work(config, marks).key
                site = Site(self.home, key, StageWatch(label, self.board), settings)
                return _perform(site, stage, config, marks)

            self.futures[label] = _as_task(body, label, stage.kind).submit(**inputs)
        return self.futures[label]

    def pack(
        self, config: FmaConfig, archive: str, plan: Product
    ) -> Mapping[str, PrefectFuture[Any]]:
        """Submit the packing of a plan's units, some units a task."""
        names = list(corpora.unit_works(self.home, plan.result(), config))
        for batch in batched(names, config.units_per_task):
            label = batch_label(batch)

            def body(plan: Mark, batch: tuple[str, ...] = batch, label: str = label) -> Any:
                watch = StageWatch(label, self.board)
                return _pack(Packing(self.home, config, archive, plan, watch), batch)

            self.futures[label] = _as_task(body, label, "packing").submit(plan=plan)
        return {label: self.futures[label] for label in map(batch_label, batched_names(names, config))}


@dataclass(frozen=True)
class Packing:
    """What a packing task needs to know."""

    home: Home
    config: FmaConfig
    archive: str
    plan: Mark
    watch: StageWatch


def batched_names(names: list[str], config: FmaConfig) -> Iterator[tuple[str, ...]]:
    """Divide units into tasks."""
    return batched(names, config.units_per_task)


def batch_label(batch: tuple[str, ...]) -> str:
    """Name a packing task by its first and last unit."""
    first, last = (name.removeprefix("unit ") for name in (batch[0], batch[-1]))
    return f"pack {first}" if first == last else f"pack {first} to {last}"


def _as_task(body: Callable[..., Any], label: str, kind: str) -> Any:
    return task(
        body,
        name=label,
        task_run_name=label,
        tags=[kind],
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=RETRIES,
        retry_delay_seconds=RETRY_SECONDS,
        retry_condition_fn=is_transient,
    )


def _perform(site: Site, stage: Stage, config: Config, marks: Inputs) -> Any:
    """Do one stage under its limit; a stage done before is `Cached`."""
    found = standing(site.home, stage.work(config, marks))
    if found.mark:
        return _cached(site, found.mark)
    with _slot(stage.kind):
        performed = perform(site, stage, config, marks)
    if performed.cached:
        return _cached(site, performed.mark)
    get_run_logger().info(
        "%s done in %.1f s: %s", stage.name, performed.mark.seconds, performed.mark.facts
    )
    site.watch.finish(performed.mark)
    return performed.mark


def _pack(packing: Packing, batch: tuple[str, ...]) -> Any:
    """Pack some units; if all were packed before, the task is `Cached`."""
    ...


def _cached(site: Site, mark: Mark) -> State[Any]:
    ...


@contextmanager
def _slot(kind: str) -> Iterator[None]:
    limit = (
        concurrency(
            GPU_LIMIT,
            lease_duration=LEASE_SECONDS,
            strict=True,
            raise_on_lease_renewal_failure=False,
        )
        if kind == "gpu"
        else nullcontext()
    )
    with limit:
        yield


def _flat(given: Mapping[str, Any]) -> dict[str, Mark]:
    """Spread a packing task's marks among a stage's other inputs."""
    marks: dict[str, Mark] = {}
    for name, value in given.items():
        marks |= value if isinstance(value, dict) else {name: value}
    return marks

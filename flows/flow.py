"""The flow that Prefect runs: one study, or one part of it, every stage a task of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from rich.console import Console

from flows import launch, pages, tables
from flows.config import StudyConfig
from flows.line import Product
from flows.operations.reap import reap, registered
from flows.progress import Board
from flows.study import EVERYTHING, Part, claim, follow
from flows.tasks import PrefectLine
from flows.variants import TABLES, Table
from pipelines.config import FmaConfig
from storage.config import Json
from storage.errors import RunError, StemworksError
from storage.layout import Home
from storage.marks import Mark
from training.report import published

THREADS = 8
"""Stages that may wait or work at once; GPU jobs and packing take turns among themselves."""


@flow(
    name="stemworks",
    flow_run_name="{part} {config.name}",
    task_runner=cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(THREADS)),
    persist_result=False,
)
def stemworks(config: StudyConfig, home: str = "home", part: Part = EVERYTHING) -> Json:
    """Run a study, one part of it or a table, in a home. What is done there is not done again.

    Args:
        config: the study; a home holds one configuration under its name.
        home: the folder under which everything lies.
        part: the whole `study`; only `fma`, `musdb` or `pretrain` with what it needs; or one of
            the paper's tables: `table1`, `table2`, `table3`, `mixit_gain`.

    Returns:
        How many stages there were, the run's page in the UI and, of a whole study or a table, its
        scores.
    """
    place = Home.open(home)
    reap()
    with registered(UUID(flow_run.get_id())), _alone(place, config, part), _obedient_children():
        with Board(Console(stderr=True)) as board:
            line = StudyLine(place, board, config.limits.gpu_jobs)
            early: StemworksError | None = None
            try:
                follow(line, config, place, part)
            except StemworksError as error:
                early = error
            marks = _settle(line, early)
        outcome: Json = {"stages": len(line.futures), "ui": flow_run.get_flow_run_ui_url()}
        if part == EVERYTHING:
            outcome |= _publish(place, marks)
        if part in TABLES:
            outcome |= _publish_table(place, config, cast("Table", part), marks)
    return outcome


class StudyLine(PrefectLine):
    """The line on which a study or a table runs; a table may pack several corpora on it."""

    def pack(
        self, config: FmaConfig, archive: str, plan: Product
    ) -> Mapping[str, PrefectFuture[Any]]:
        """Submit the packing of one corpus; no task of it takes the place of another corpus's."""
        apart = copy(self)
        apart.futures = {}
        products = PrefectLine.pack(apart, config, archive, plan)
        corpus = sum(label.split(" (")[0] == "pack" for label in self.futures)
        for label, future in apart.futures.items():
            self.futures[f"{label} ({Path(archive).name} {corpus})" if corpus else label] = future
        return products


@contextmanager
def _alone(home: Home, config: StudyConfig, part: Part) -> Iterator[None]:
    with home.alone(f"study-{config.name}", f"study '{config.name}' in {home.url}"):
        claim(home, config, part)
        yield


@contextmanager
def _obedient_children() -> Iterator[None]:
    """Let an interruption of the flow end the jobs that its threads are waiting for."""
    launch.stopping.clear()
    try:
        yield
    except BaseException:
        launch.stopping.set()
        raise


def _settle(line: PrefectLine, early: StemworksError | None) -> dict[str, Mark]:
    """Wait for every stage; return their marks by label.

    Raises:
        RunError: a stage failed; what does not depend on it is done all the same.
    """
    marks: dict[str, Mark] = {}
    failed: dict[str, BaseException] = {}
    for label, future in line.futures.items():
        future.wait()
        if future.state.is_completed():
            result = future.result()
            marks |= result if isinstance(result, dict) else {label: result}
        elif not future.state.is_pending():
            failed[label] = _error_of(future)
    if failed:
        label, cause = next(iter(failed.items()))
        raise _failure(label, cause, len(failed)) from cause
    if early:
        raise early
    return marks


def _error_of(future: PrefectFuture[Any]) -> BaseException:
    error = future.result(raise_on_failure=False)
    return error if isinstance(error, BaseException) else RunError(str(future.state.message))


def _failure(label: str, cause: BaseException, count: int) -> RunError:
    others = f" ({count - 1} more failed)" if count > 1 else ""
    what = str(cause) or type(cause).__name__
    failure = RunError(
        f"stage '{label}' failed{others}: {what}. What else was done stays done: the same command "
        "again does only the rest"
    )
    failure.exit_code = cause.exit_code if isinstance(cause, StemworksError) else 1
    return failure


def _publish(home: Home, marks: dict[str, Mark]) -> Json:
    """Put the study's results on the parent run, a card and two tables, and return them."""
    scores = pages.table_of(home, marks)
    create_markdown_artifact(
        pages.run_card(home, marks), key="run-card", description="The study on one page"
    )
    create_table_artifact(scores.records(), key="scores", description="Scores in dB")
    create_table_artifact(
        published.records(), key="published-scores", description=published.CAUTION
    )
    census = marks["census"].facts
    rows = [{"outcome": "kept", "reason": "", "tracks": census["kept"]}]
    for outcome in ("filtered", "quarantined"):
        rows += [
            {"outcome": outcome, "reason": reason, "tracks": count}
            for reason, count in census[outcome].items()
        ]
    create_table_artifact(rows, key="census", description="What became of every track")
    return {
        "scores": {"headers": scores.headers, "rows": scores.rows},
        "gain": pages.gain_of(home, marks),
        "report": marks["report"].facts["page"],
    }


def _publish_table(home: Home, config: StudyConfig, table: Table, marks: dict[str, Mark]) -> Json:
    """Put a table's results on the parent run, and return them."""
    found = tables.findings(home, config, table, marks)
    gains = [gain.sentence() for gain in found.gains]
    page = marks[table].facts["page"]
    card = [f"## {table}", found.scores.markdown(), *gains, f"**Report:** `{page}`"]
    create_markdown_artifact(
        "\n\n".join(card), key="table-card", description="The table on one page"
    )
    create_table_artifact(found.scores.records(), key="scores", description="Scores in dB")
    return {
        "scores": {"headers": found.scores.headers, "rows": found.scores.rows},
        "gain": gains[-1] if gains else "",
        "report": page,
    }

"""The flow that Prefect runs: one study, or one part of it, every stage a task of it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from prefect.futures import PrefectFuture
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.config import StudyConfig
from flows.engine.approval import Consent
from flows.engine.run_artifacts import RunArtifacts
from flows.engine.tasks import PrefectRunner
from flows.jobs.deadlines import obeyed
from flows.recipes import RecipeName, named
from flows.recovery import notifications
from flows.recovery.cancel import is_cancelled, stopped_when_cancelled
from flows.recovery.crash_detection import mark_crashed
from flows.recovery.heartbeats import run_heartbeat
from flows.stages import report
from flows.stages.stage import Stage
from flows.studies import tables
from flows.studies.graph import EVERYTHING, Part, build_graph, claim
from flows.studies.runner import Product
from flows.studies.variants import TABLES, Table
from flows.ui.artifacts import Artifact
from flows.ui.progress import Board, Terminal
from flows.ui.run_card import report_link
from flows.ui.states import SCHEDULED_TAG, StateName
from pipelines.config import FmaConfig
from storage.config import Config, Json
from storage.errors import LockedError, RunError, StemworksError
from storage.home.layout import Home
from storage.home.marks import Mark
from storage.home.open import open_home
from training.report import published

THREADS = 8
"""Stages that may wait or work at once; GPU jobs and packing take turns among themselves."""


def title(parameters: Mapping[str, Any]) -> str:
    """Return the name of a run: its part and its study's name, whatever else it was given."""
    config = parameters.get("config")
    study = config.name if isinstance(config, StudyConfig) else parameters["recipe"]
    for assignment in parameters["overrides"]:
        path, _, text = assignment.partition("=")
        study = text.strip() if path.strip() == "name" else study
    return f"{parameters['part']} {study}"


@flow(
    name="stemworks",
    flow_run_name=lambda: title(flow_run.parameters),
    task_runner=cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(THREADS)),
    persist_result=False,
    on_failure=[notifications.on_end],
    on_crashed=[notifications.on_end],
)
def stemworks(
    recipe: RecipeName = "demo",
    overrides: Sequence[str] = (),
    home: str = "home",
    part: Part = EVERYTHING,
    config: StudyConfig | None = None,
) -> Json | State[Json]:
    """Run a study, one part of it or a table, in a home. What is done there is not done again.

    Args:
        recipe: which study; a home holds one configuration under its name.
        overrides: what differs from it, each as `a.b=c`, such as `pretraining.optim.lr=3e-4`.
        home: the folder, or `s3://` address, under which everything lies.
        part: the whole `study`; only `fma`, `musdb` or `pretrain` with what it needs; or one of
            the paper's tables: `table1`, `table2`, `table3`, `mixit_gain`.
        config: a whole configuration instead of a recipe; the overrides hold for it, too.

    Returns:
        How many stages there were, the run's page in the UI and, of a whole study or a table, its
        scores; or the state `Cancelled`; or `Skipped`, where a schedule began what still goes on.

    Raises:
        ConfigError: the recipe or a setting is unknown, or a value is refused.
    """
    config = (config or named(recipe)).override(overrides)
    run = UUID(flow_run.get_id())
    with run_heartbeat(run, deployment.get_id() is not None), stopped_when_cancelled(run):
        mark_crashed()
        try:
            return _run(config, open_home(home), part)
        except TerminationSignal:
            if not is_cancelled(run):
                raise
            return Cancelled(message="Cancelled. Run it again: it goes on from what is done.")
        except LockedError as error:
            # A study of days on a schedule of nights: nobody is to be woken by that.
            if SCHEDULED_TAG not in flow_run.get_tags():
                raise
            who = str(error).partition(";")[0]
            return Cancelled(name=StateName.SKIPPED, message=f"Not needed this time: {who}.")


def _run(config: StudyConfig, place: Home, part: Part) -> Json:
    with _alone(place, config, part):
        with Board(Terminal(stderr=True)) as board:
            line = StudyRunner(place, board, config.limits)
            line.consent = Consent(config, place, part)
            line.corpora = max(1, len(config.tables.scales)) if part == "table3" else 1
            with RunArtifacts(place, part, config.name, line), obeyed():
                early: StemworksError | None = None
                try:
                    build_graph(line, config, place, part)
                except StemworksError as error:
                    early = error
                marks = _settle(line, early)
        outcome: Json = {"stages": len(line.futures), "ui": flow_run.get_flow_run_ui_url()}
        if part == EVERYTHING:
            outcome |= _publish(place, marks)
        if part in TABLES:
            outcome |= _publish_table(place, config, cast("Table", part), marks)
    return outcome


class StudyRunner(PrefectRunner):
    """The line on which a study or a table runs; a table may pack several corpora on it."""

    consent: Consent | None = None
    """What is asked before the first GPU job."""

    def do(
        self, label: str, stage: Stage, config: Config, settings: Json, **inputs: Product
    ) -> PrefectFuture[Any]:
        """Submit one stage; before the first GPU job, a person may have to agree to the cost."""
        if stage.kind == "gpu" and self.consent and self.consent.given(inputs.values()):
            self.consent = None
        return PrefectRunner.do(self, label, stage, config, settings, **inputs)

    def pack(
        self, config: FmaConfig, archive: str, plan: Product
    ) -> Mapping[str, PrefectFuture[Any]]:
        """Submit the packing of one corpus; no task of it takes the place of another corpus's."""
        corpus = sum(label.split(" (")[0] == "pack" for label in self.futures)
        apart = copy(self)
        apart.suffix = f" ({Path(archive).name} {corpus})" if corpus else ""
        return PrefectRunner.pack(apart, config, archive, plan)


@contextmanager
def _alone(home: Home, config: StudyConfig, part: Part) -> Iterator[None]:
    with home.alone(f"study-{config.name}", f"study '{config.name}' in {home.url}"):
        claim(home, config, part)
        yield


def _settle(line: PrefectRunner, early: StemworksError | None) -> dict[str, Mark]:
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
    """Put what is published beside the study's scores on the parent run, and return the scores."""
    scores = report.table_of(home, marks)
    Artifact("table", "published-scores", published.CAUTION).show(published.records())
    return {
        "scores": {"headers": scores.headers, "rows": scores.rows},
        "gain": report.gain_of(home, marks),
        "report": marks["report"].facts["page"],
    }


def _publish_table(home: Home, config: StudyConfig, table: Table, marks: dict[str, Mark]) -> Json:
    """Put a table's results on the parent run, and return them."""
    found = tables.findings(home, config, table, marks)
    gains = [gain.sentence() for gain in found.gains]
    page = marks[table].facts["page"]
    card = [f"## {table}", found.scores.markdown(), *gains, report_link(home, page)]
    Artifact("markdown", "table-card", "The table on one page").show("\n\n".join(card))
    Artifact("table", "scores", "Scores in dB").show(found.scores.records())
    return {
        "scores": {"headers": found.scores.headers, "rows": found.scores.rows},
        "gain": gains[-1] if gains else "",
        "report": page,
    }

"""The flow that Prefect runs: one study, or one part of it, every stage a task of it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Union, cast
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from prefect.futures import PrefectFuture
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.config import StudyConfig
from flows.engine.approval import ApprovalGate
from flows.engine.run_artifacts import RunArtifacts, Shown
from flows.engine.task_policy import MarkFuture
from flows.engine.tasks import PrefectRunner
from flows.jobs.deadlines import interruptible
from flows.recovery import notifications
from flows.recovery.cancel import is_cancelled, stopped_when_cancelled
from flows.recovery.crash_detection import mark_crashed
from flows.recovery.heartbeats import run_heartbeat
from flows.stage_id import StageId
from flows.studies.claims import claim
from flows.studies.runner import DryRun, StageStatus
from flows.studies.study import Results
from flows.studies.table import STUDIES, FlowName, RecipeName, checked, named, study_of
from flows.ui.artifacts import Artifact
from flows.ui.progress import Board, Terminal
from flows.ui.states import SCHEDULED_TAG, StateName
from storage.config import Json
from storage.errors import LockedError, RunError, StemworksError
from storage.home.layout import Home
from storage.home.marks import Mark
from storage.home.open import open_home

THREADS = 8
"""Stages that may wait or work at once; GPU jobs and packing take turns among themselves."""

FIRST = STUDIES[0].whole
"""The flow of a form that names none."""

if TYPE_CHECKING:
    AnyConfig = StudyConfig
else:
    # What the form shows, and what a run's parameters are checked against.
    AnyConfig = Union[tuple(study.config for study in STUDIES)]  # noqa: UP007  of any number


def title(parameters: Mapping[str, Any]) -> str:
    """Return the name of a run: its part and its study's name, however that was set."""
    config = parameters.get("config")
    # A deployment's parameters are plain values.
    given = config.name if isinstance(config, StudyConfig) else (config or {}).get("name", "")
    study = given or parameters["recipe"]
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
    part: FlowName = FIRST,
    config: AnyConfig | None = None,
) -> Json | State[Json]:
    """Run a study, one part of it or a table, in a home. What is done there is not done again.

    Args:
        recipe: which study; a home holds one configuration under its name. Unread beside `config`.
        overrides: what differs from it, each as `a.b=c`, such as `pretraining.optim.lr=3e-4`.
        home: the folder, or `s3://` address, under which everything lies.
        part: the whole `study`; one part of it with what it needs; or one of its tables.
        config: a whole configuration instead of a recipe; the overrides hold for it, too.

    Returns:
        How many stages there were, the run's page in the UI and, of a whole study or a table, its
        scores; or the state `Cancelled`; or `Skipped`, where a schedule's earlier run is not over.

    Raises:
        ConfigError: the recipe or a setting is unknown, a value is refused, or the configuration
            is of another study than the part.
    """
    config = checked(part, config or named(recipe)).override(overrides)
    run = UUID(flow_run.get_id())
    with run_heartbeat(run, deployment.get_id() is not None), stopped_when_cancelled(run):
        mark_crashed()
        try:
            return _run(config, open_home(home), part)
        except TerminationSignal:
            if not is_cancelled(run):
                raise
            return Cancelled(message="Cancelled. Run it again: it continues from what is done.")
        except LockedError as error:
            # A study of days on a nightly schedule: that is no failure.
            if SCHEDULED_TAG not in flow_run.get_tags():
                raise
            message = f"Not needed this time: {error.what}."
            return Cancelled(name=StateName.SKIPPED, message=message)


def _run(config: StudyConfig, home: Home, part: str) -> Json:
    study = study_of(part)

    def results(made: Mapping[StageId, Mark]) -> Results:
        return study.results(home, config, part, made)

    def look() -> list[StageStatus]:
        dry_run = DryRun(home)
        study.build_graph(dry_run, config, home, part)
        return dry_run.statuses

    with _alone(home, config, part), Board(Terminal(stderr=True)) as board:
        approval = ApprovalGate(config.gates, home, look)
        corpora = study.corpora(config, part)
        run = f"run '{part} {config.name}' in {home.url}"
        runner = PrefectRunner(home, board, config.limits, corpora, run, approval.pass_through)
        shown = Shown(home, part, config.name, results)
        with RunArtifacts(shown, runner), interruptible():
            early: StemworksError | None = None
            try:
                study.build_graph(runner, config, home, part)
            except StemworksError as error:
                early = error
            made = _wait(runner.futures, early)
    outcome: Json = {"stages": len(made), "ui": flow_run.get_flow_run_ui_url()}
    return outcome | _publish(results(made))


@contextmanager
def _alone(home: Home, config: StudyConfig, part: str) -> Iterator[None]:
    with home.alone(f"study-{config.name}", f"study '{config.name}' in {home.url}"):
        claim(home, config, part)
        yield


def _wait(
    futures: Mapping[StageId, MarkFuture], early: StemworksError | None
) -> dict[StageId, Mark]:
    """Wait for every stage; return their marks.

    Raises:
        RunError: a stage failed; what does not depend on it is done all the same.
    """
    marks: dict[StageId, Mark] = {}
    failed: dict[StageId, BaseException] = {}
    for what, future in futures.items():
        future.wait()
        if future.state.is_completed():
            marks[what] = future.result()
        elif not future.state.is_pending():
            failed[what] = _error_of(future)
    if failed:
        what, cause = next(iter(failed.items()))
        raise _failure(what, cause, len(failed)) from cause
    if early:
        raise early
    return marks


def _error_of(future: MarkFuture) -> BaseException:
    error: object = future.result(raise_on_failure=False)
    return error if isinstance(error, BaseException) else RunError(str(future.state.message))


def _failure(what: StageId, cause: BaseException, count: int) -> RunError:
    others = f" ({count - 1} more failed)" if count > 1 else ""
    why = str(cause) or type(cause).__name__
    failure = RunError(
        f"stage '{what.label}' failed{others}: {why}. What else was done stays done: the same "
        "command again does only the rest"
    )
    failure.exit_code = cause.exit_code if isinstance(cause, StemworksError) else 1
    return failure


def _publish(results: Results) -> Json:
    """Show what a finished run comes to on the run itself, and return it."""
    for page in results.pages:
        Artifact(page.kind, page.key, page.description).show(page.data)
    if not results.report:
        return {}
    return {
        "scores": {"headers": results.scores.headers, "rows": results.scores.rows},
        "gain": results.headline,
        "report": results.report,
    }

"""Crashed runs of this machine: detected, marked and restarted without Prefect's automations.

Prefect leaves the run of a killed process `Running` for ever, and its own remedy, an automation,
locks an SQLite database. So every run keeps a heartbeat file here, and so does every runner.
`mark_crashed` compares these with the server: it marks the runs of dead processes `Crashed`,
updates their run cards, frees the slots that they held, and restarts those that are deployed. It
does the same for runs that a runner was given and died before starting. `serve` and `work` call
it every half minute; `ui`, `run` and `status` once.
"""

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.states import Cancelled, Crashed

from flows.recovery import notifications
from flows.recovery.automations import restarts_are_automated
from flows.recovery.concurrency_limits import ensure_limits, free_slots
from flows.recovery.heartbeats import (
    EXPIRY_SECONDS,
    INTERVAL_SECONDS,
    Heartbeat,
    RunHeartbeat,
    RunnerHeartbeat,
    run_heartbeats,
    runner_heartbeats,
)
from flows.recovery.machine_limits import limit_names
from flows.recovery.resume import describe_decision, may_resume, resume, times_started
from flows.server.settings import ServerSettings
from flows.ui import artifacts, run_card
from flows.ui.states import STEMWORKS_TAG
from storage.errors import LockedError
from storage.files import only_one

DETECTION_SECONDS = 30.0
"""Between two checks of a process that serves: within this time it marks a run that crashed."""
START_SECONDS = 300.0
"""For which a run may be `Pending`: a flow that is starting outlives the runner that started it."""
DIED = "Its process has died."
NEVER_STARTED = "The process that was to start it has died, and the run never started."
UNFINISHED_TASKS = TaskRunFilter(
    state=TaskRunFilterState(
        type=TaskRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])
    )
)
PENDING_RUNS = FlowRunFilter(
    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PENDING])),
    tags=FlowRunFilterTags(all_=[STEMWORKS_TAG]),
)

logger = logging.getLogger(__name__)


class CrashedRun(NamedTuple):
    """A run whose process has died."""

    name: str
    decision: str
    """Whether it restarts automatically, or what its owner has to do."""


def mark_crashed() -> list[CrashedRun]:
    """Mark the runs of dead processes, restart those that are deployed, and return them all.

    While another process does the same, do nothing and return none.
    """
    lock = ServerSettings.from_environment().state / "crash-detection.lock"
    try:
        with only_one(lock, "detecting crashed runs"):
            return _mark_crashed()
    except LockedError:
        return []


def _mark_crashed() -> list[CrashedRun]:
    runs = run_heartbeats()
    dead = [heartbeat for heartbeat in runs if not heartbeat.is_live]
    dead_runners = [runner for runner in runner_heartbeats() if not runner.is_live]
    with get_client(sync_client=True) as client:
        crashed = [run for heartbeat in dead if (run := _close_run(client, heartbeat))]
        crashed += [run for runner in dead_runners for run in _close_runner(client, runner)]
        if dead and len(dead) == len(runs):
            free_slots(client, limit_names())
        ensure_limits(client)
    return crashed


@contextmanager
def watching_for_crashes(report: Callable[[CrashedRun], None]) -> Iterator[None]:
    """Mark crashed runs every `DETECTION_SECONDS` in a thread, and report each."""
    over = threading.Event()
    context = contextvars.copy_context()
    thread = threading.Thread(
        target=context.run, args=(_watch, over, report), name="crash detection", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        over.set()


def _watch(over: threading.Event, report: Callable[[CrashedRun], None]) -> None:
    while not over.is_set():
        try:
            for crashed in mark_crashed():
                report(crashed)
        except (httpx.HTTPError, PrefectException, OSError) as error:
            # A server that does not answer now may answer at the next check.
            logger.warning(
                "cannot detect crashed runs; trying again in %g s: %s", DETECTION_SECONDS, error
            )
        over.wait(DETECTION_SECONDS)


def _close_run(client: SyncPrefectClient, heartbeat: RunHeartbeat) -> CrashedRun | None:
    """Mark the run of a dead process; return None if it ended properly or was started again."""
    try:
        run = client.read_flow_run(heartbeat.flow_run)
    except (ObjectNotFound, ValueError):
        heartbeat.remove()
        return None
    state = run.state
    if state is not None and _may_be_restarting(state, heartbeat):
        return None
    crashed = None
    if state is None or state.is_scheduled() or state.is_pending():
        _close_card(client, run, "crashed", f"{DIED} It restarts automatically.")
    elif state.is_running() and _is_after(state, heartbeat):
        # Another process executes it now, perhaps on another machine.
        pass
    elif state.is_cancelling():
        _set_state(client, run, Cancelled(message=DIED))
        _close_card(client, run, "stopped", f"It was cancelled. {DIED}")
    elif state.is_final() and not state.is_crashed():
        _close_card(client, run, "stopped", f"It was marked {state.name}. {DIED}")
    else:
        crashed = _crash(client, run, DIED, heartbeat.command)
    heartbeat.remove()
    return crashed


def _may_be_restarting(state: State[Any], heartbeat: RunHeartbeat) -> bool:
    """Whether a new process may have started the run, and not yet written its own heartbeat."""
    since = _since(state)
    return state.is_running() and since > heartbeat.renewed and time.time() - since < EXPIRY_SECONDS


def _is_after(state: State[Any] | None, heartbeat: Heartbeat) -> bool:
    """Whether a state is newer than this process could set it, with some tolerance for clocks."""
    return _since(state) > heartbeat.renewed + 2 * INTERVAL_SECONDS


def _since(state: State[Any] | None) -> float:
    return state.timestamp.timestamp() if state else 0.0


def _close_runner(client: SyncPrefectClient, runner: RunnerHeartbeat) -> list[CrashedRun]:
    """Mark the runs that a dead runner was given and that never started; return them."""
    waiting = [run for run in _pending(client, runner) if not _is_after(run.state, runner)]
    overdue = [run for run in waiting if time.time() - _since(run.state) > START_SECONDS]
    crashed = [_crash(client, run, NEVER_STARTED, "") for run in overdue]
    if len(overdue) == len(waiting):
        runner.remove()
    return crashed


def _pending(client: SyncPrefectClient, runner: RunnerHeartbeat) -> list[FlowRun]:
    """Return the `Pending` runs of Stemworks that this runner may have been given."""
    if runner.pool:
        pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[runner.pool]))
        return client.read_flow_runs(flow_run_filter=PENDING_RUNS, work_pool_filter=pool)
    if not runner.deployments:
        return []
    served = DeploymentFilter(id=DeploymentFilterId(any_=runner.deployments))
    return client.read_flow_runs(flow_run_filter=PENDING_RUNS, deployment_filter=served)


def _crash(client: SyncPrefectClient, run: FlowRun, reason: str, command: str) -> CrashedRun:
    """Mark a run crashed, update its card, and restart it if it may."""
    times = times_started(client, run)
    crashed = CrashedRun(run.name, describe_decision(run, times, command))
    why = f"{reason} {crashed.decision}"
    if run.state is None or not run.state.is_crashed():
        _set_state(client, run, Crashed(message=why))
        notifications.notify("crashed", run.name, why, str(run.id))
    _close_card(client, run, "crashed", why)
    # The automation restarts no run that was never `Running`.
    if may_resume(run, times) and not (run.run_count and restarts_are_automated(client)):
        resume(client, run, times)
    return crashed


def _close_card(
    client: SyncPrefectClient, run: FlowRun, state: Literal["stopped", "crashed"], why: str
) -> None:
    artifacts.amend_artifact(
        client, run.id, run_card.KEY, lambda text: run_card.closed(text, state, why)
    )


def _set_state(client: SyncPrefectClient, run: FlowRun, state: State[None]) -> None:
    client.set_flow_run_state(run.id, state, force=True)
    for task in client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])),
        task_run_filter=UNFINISHED_TASKS,
    ):
        client.set_task_run_state(task.id, state, force=True)

"""Dead runs told from live ones, on this machine and without Prefect's automations.

Prefect leaves the run of a killed process `Running` for ever, and its own remedy, an automation,
locks an SQLite database. So every run leaves a note of its process here; whoever looks next marks
the runs whose process is gone `Crashed`, says so on their cards, frees the slots that they held,
and lets those that are deployed begin again. So it is with runs that a process took up and did not
live to begin. `serve` and `work` look every half minute; `ui`, `run` and `status` once.
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
from flows.recovery.automations import TAG, installed
from flows.recovery.concurrency_limits import ensure_limits, free_slots, own_limits
from flows.recovery.heartbeats import (
    BEAT_SECONDS,
    EXPIRY_SECONDS,
    Heartbeat,
    RunHeartbeat,
    RunnerHeartbeat,
    run_heartbeats,
    runner_heartbeats,
)
from flows.recovery.resume import may_resume, resume, times_begun, verdict
from flows.server.settings import ServerSettings
from flows.ui import artifacts, run_card
from storage.errors import LockedError
from storage.files import only_one

REAP_SECONDS = 30.0
"""Between two looks of a process that serves: so soon it marks a run of this machine that died."""
START_SECONDS = 300.0
"""For which a run may be `Pending`: its flow, being started, outlives whoever started it."""
GONE = "Its process is gone."
NEVER_BEGAN = "Whoever took it up is gone, and it never began."
UNFINISHED = TaskRunFilter(
    state=TaskRunFilterState(
        type=TaskRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])
    )
)
WAITING = FlowRunFilter(
    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PENDING])),
    tags=FlowRunFilterTags(all_=[TAG]),
)

logger = logging.getLogger(__name__)


class Lost(NamedTuple):
    """A run whose process is gone."""

    name: str
    verdict: str
    """What becomes of it, or what its owner has to do."""


def mark_crashed() -> list[Lost]:
    """Mark the runs of dead processes; let those that are deployed begin again; return them all.

    Where another process is about it, this one has nothing to do.
    """
    try:
        with only_one(
            ServerSettings.from_environment().state / "reap.lock", "looking for lost runs"
        ):
            return _reap()
    except LockedError:
        return []


def _reap() -> list[Lost]:
    known = run_heartbeats()
    dead = [note for note in known if not note.is_live]
    gone = [taker for taker in runner_heartbeats() if not taker.is_live]
    with get_client(sync_client=True) as client:
        lost = [found for note in dead if (found := _bury(client, note))]
        lost += [found for taker in gone for found in _take_over(client, taker)]
        if dead and len(dead) == len(known):
            free_slots(client, own_limits())
        ensure_limits(client)
    return lost


@contextmanager
def watching_for_crashes(say: Callable[[Lost], None]) -> Iterator[None]:
    """Reap every `REAP_SECONDS`, for as long as a process that serves is there."""
    over = threading.Event()
    context = contextvars.copy_context()
    reaper = threading.Thread(
        target=context.run, args=(_reap_until, over, say), name="reaper", daemon=True
    )
    reaper.start()
    try:
        yield
    finally:
        over.set()


def _reap_until(over: threading.Event, say: Callable[[Lost], None]) -> None:
    while not over.is_set():
        try:
            for lost in mark_crashed():
                say(lost)
        except (httpx.HTTPError, PrefectException, OSError) as error:
            # A server that is away comes back.
            logger.warning("cannot look for lost runs: %s", error)
        over.wait(REAP_SECONDS)


def _bury(client: SyncPrefectClient, note: RunHeartbeat) -> Lost | None:
    """Mark one dead run; return it, or nothing if it had ended properly or is begun again."""
    try:
        run = client.read_flow_run(note.flow_run)
    except (ObjectNotFound, ValueError):
        note.drop()
        return None
    state = run.state
    if state is not None and _may_be_taken_up(state, note):
        return None
    lost = None
    if state is None or state.is_scheduled() or state.is_pending():
        _close_card(client, run, "lost", f"{GONE} It begins again.")
    elif state.is_running() and _is_after(state, note):
        # Another process does it now, perhaps elsewhere: this note tells nothing of that one.
        pass
    elif state.is_cancelling():
        _mark(client, run, Cancelled(message=GONE))
        _close_card(client, run, "stopped", f"It was cancelled. {GONE}")
    elif state.is_final() and not state.is_crashed():
        _close_card(client, run, "stopped", f"It was marked {state.name}. {GONE}")
    else:
        lost = _crash(client, run, GONE, note.command)
    note.drop()
    return lost


def _may_be_taken_up(state: State[Any], note: RunHeartbeat) -> bool:
    """Say whether a new process may have begun the run, but left no note of its own yet."""
    since = _since(state)
    return state.is_running() and since > note.beaten and time.time() - since < EXPIRY_SECONDS


def _is_after(state: State[Any] | None, trace: Heartbeat) -> bool:
    """Say whether a state is younger than this process could make it, were clocks a little off."""
    return _since(state) > trace.beaten + 2 * BEAT_SECONDS


def _since(state: State[Any] | None) -> float:
    return state.timestamp.timestamp() if state else 0.0


def _take_over(client: SyncPrefectClient, taker: RunnerHeartbeat) -> list[Lost]:
    """Mark the runs that a dead process took up and that never began; return them."""
    waiting = [run for run in _taken(client, taker) if not _is_after(run.state, taker)]
    ripe = [run for run in waiting if time.time() - _since(run.state) > START_SECONDS]
    lost = [_crash(client, run, NEVER_BEGAN, "") for run in ripe]
    if len(ripe) == len(waiting):
        taker.drop()
    return lost


def _taken(client: SyncPrefectClient, taker: RunnerHeartbeat) -> list[FlowRun]:
    """Return the runs of ours that are `Pending` and that this process may have taken up."""
    if taker.pool:
        pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[taker.pool]))
        return client.read_flow_runs(flow_run_filter=WAITING, work_pool_filter=pool)
    if not taker.deployments:
        return []
    served = DeploymentFilter(id=DeploymentFilterId(any_=taker.deployments))
    return client.read_flow_runs(flow_run_filter=WAITING, deployment_filter=served)


def _crash(client: SyncPrefectClient, run: FlowRun, reason: str, command: str) -> Lost:
    """Mark a lost run, say so on its card, and let it begin again if it may."""
    times = times_begun(client, run)
    lost = Lost(run.name, verdict(run, times, command))
    why = f"{reason} {lost.verdict}"
    if run.state is None or not run.state.is_crashed():
        _mark(client, run, Crashed(message=why))
        notifications.tell("crashed", run.name, why, str(run.id))
    _close_card(client, run, "lost", why)
    # The automation lets no run begin again that was never `Running`.
    if may_resume(run, times) and not (run.run_count and installed(client)):
        resume(client, run, times)
    return lost


def _close_card(
    client: SyncPrefectClient, run: FlowRun, state: Literal["stopped", "lost"], why: str
) -> None:
    artifacts.amend_artifact(
        client, run.id, run_card.KEY, lambda text: run_card.closed(text, state, why)
    )


def _mark(client: SyncPrefectClient, run: FlowRun, state: State[None]) -> None:
    client.set_flow_run_state(run.id, state, force=True)
    for task in client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])), task_run_filter=UNFINISHED
    ):
        client.set_task_run_state(task.id, state, force=True)

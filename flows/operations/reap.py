"""Dead runs told from live ones, on this machine and without Prefect's automations.

Prefect leaves the run of a killed process `Running` for ever, and its own remedy, an automation,
locks an SQLite database. So every run leaves a note of its process here; whoever looks next marks
the runs whose process is gone `Crashed`, frees the slots that they held, and lets those that are
deployed begin again. `stemworks serve` looks every half minute; `ui`, `run` and `status` once.
"""

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.states import Cancelled, Crashed

from flows.operations import notifications
from flows.operations.automations import installed
from flows.operations.limits import ensure_limits, free_slots, own_limits
from flows.operations.live_runs import EXPIRY_SECONDS, Note, notes
from flows.operations.resuming import may_resume, resume, verdict
from flows.operations.settings import Place
from storage.errors import LockedError
from storage.files import only_one

REAP_SECONDS = 30.0
"""Between two looks of a process that serves: so soon it marks a run of this machine that died."""
UNFINISHED = TaskRunFilter(
    state=TaskRunFilterState(
        type=TaskRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])
    )
)


logger = logging.getLogger(__name__)


class Lost(NamedTuple):
    """A run whose process is gone."""

    name: str
    verdict: str
    """What becomes of it, or what its owner has to do."""


def reap() -> list[Lost]:
    """Mark the runs of dead processes; let those that are deployed begin again; return them all.

    Where another process is about it, this one has nothing to do.
    """
    try:
        with only_one(Place.from_environment().state / "reap.lock", "looking for lost runs"):
            return _reap()
    except LockedError:
        return []


def _reap() -> list[Lost]:
    known = notes()
    dead = [note for note in known if not note.is_live]
    with get_client(sync_client=True) as client:
        lost = [found for note in dead if (found := _bury(client, note))]
        if dead and len(dead) == len(known):
            free_slots(client, own_limits())
        ensure_limits(client)
    return lost


@contextmanager
def reaping(say: Callable[[Lost], None]) -> Iterator[None]:
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
            for lost in reap():
                say(lost)
        except (httpx.HTTPError, PrefectException, OSError) as error:
            # A server that is away comes back.
            logger.warning("cannot look for lost runs: %s", error)
        over.wait(REAP_SECONDS)


def _bury(client: SyncPrefectClient, note: Note) -> Lost | None:
    """Mark one dead run; return it, or nothing if it had ended properly or is begun again."""
    try:
        run = client.read_flow_run(note.flow_run)
    except (ObjectNotFound, ValueError):
        note.drop()
        return None
    state = run.state
    if state is not None and _is_taken_up(state, note):
        return None
    note.drop()
    if state is None or state.is_scheduled() or (state.is_final() and not state.is_crashed()):
        return None
    if state.is_cancelling():
        _mark(client, run, Cancelled(message="Its process is gone."))
        return None
    lost = Lost(run.name, verdict(run, note.command))
    if not state.is_crashed():
        why = f"Its process is gone. {lost.verdict}"
        _mark(client, run, Crashed(message=why))
        notifications.tell("crashed", run.name, why, str(run.id))
    if may_resume(run) and not installed(client):
        resume(client, run)
    return lost


def _is_taken_up(state: State[Any], note: Note) -> bool:
    """Say whether a new process may have begun the run, but left no note of its own yet."""
    at_work = state.is_pending() or state.is_running()
    since = state.timestamp.timestamp()
    return at_work and since > note.beaten and time.time() - since < EXPIRY_SECONDS


def _mark(client: SyncPrefectClient, run: FlowRun, state: State[None]) -> None:
    client.set_flow_run_state(run.id, state, force=True)
    for task in client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])), task_run_filter=UNFINISHED
    ):
        client.set_task_run_state(task.id, state, force=True)

"""Dead runs told from live ones, on this machine and without Prefect's automations.

Prefect leaves the run of a killed process `Running` for ever, and its own remedy, an automation,
locks an SQLite database. So every run leaves a note of its process here; whoever looks next marks
the runs whose process is gone `Crashed`, and frees the GPU slots that they held.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from flows.operations.server import Place
from flows.tasks import GPU_LIMIT
from storage.errors import ManifestError
from storage.files import read_json, write_json
from storage.processes import identity, is_alive

UNFINISHED = TaskRunFilter(
    state=TaskRunFilterState(
        type=TaskRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])
    )
)
GPU_JOBS = 1
"""GPU jobs at a time, until the limit is raised in the UI."""


@contextmanager
def registered(flow_run: UUID) -> Iterator[None]:
    """Leave a note that this process is doing this flow run, for as long as it does."""
    note = Place.from_environment().live_runs / f"{flow_run}.json"
    write_json(note, identity())
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def reap() -> list[str]:
    """Mark this machine's dead runs `Crashed`; return their names."""
    notes = sorted(Place.from_environment().live_runs.glob("*.json"))
    with get_client(sync_client=True) as client:
        dead = [note for note in notes if not _lives(note)]
        names = [name for note in dead if (name := _bury(client, note))]
        if dead and len(dead) == len(notes):
            _free_slots(client)
        ensure_limits(client)
    return names


def ensure_limits(client: SyncPrefectClient) -> None:
    """Create the GPU jobs' limit if there is none; one that a person has set is left as it is."""
    try:
        client.read_global_concurrency_limit_by_name(GPU_LIMIT)
    except ObjectNotFound:
        client.upsert_global_concurrency_limit_by_name(GPU_LIMIT, GPU_JOBS)


def _lives(note: Path) -> bool:
    try:
        return is_alive(read_json(note))
    except ManifestError:
        return False


def _bury(client: SyncPrefectClient, note: Path) -> str:
    """Mark one dead run; return its name, or nothing if it had ended properly."""
    try:
        run = client.read_flow_run(UUID(note.stem))
    except ObjectNotFound:
        run = None
    note.unlink(missing_ok=True)
    if run is None or run.state is None or run.state.is_final():
        return ""
    state: State[None] = Crashed(
        message="Its process is gone. Run it again: what is done stays done."
    )
    client.set_flow_run_state(run.id, state, force=True)
    for task in client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])), task_run_filter=UNFINISHED
    ):
        client.set_task_run_state(task.id, state, force=True)
    return run.name


def _free_slots(client: SyncPrefectClient) -> None:
    """Give back the slots of dead runs now instead of when their leases end, a minute later."""
    try:
        limit = client.read_global_concurrency_limit_by_name(GPU_LIMIT)
    except ObjectNotFound:
        return
    client.delete_global_concurrency_limit_by_name(GPU_LIMIT)
    client.upsert_global_concurrency_limit_by_name(GPU_LIMIT, limit.limit)

"""The answer to a run that asks before it spends GPU time, from outside of it."""

from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.flow_runs import resume_flow_run

from storage.errors import ConfigError

PAUSED = FlowRunFilter(
    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED]))
)


def answer(run: str, approved: bool, reason: str) -> str:
    """Answer the run of this name or id; return its name.

    Raises:
        ConfigError: no such run waits for an answer, or several do; lists those that wait.
    """
    with get_client(sync_client=True) as client:
        waiting = client.read_flow_runs(flow_run_filter=PAUSED)
    found = [one for one in waiting if run in (one.name, str(one.id))]
    if len(found) != 1:
        known = ", ".join(_told(one) for one in waiting) or "none"
        which = f"several runs called '{run}' wait" if found else f"no run called '{run}' waits"
        raise ConfigError(f"{which} for approval; those that wait: {known}")
    resume_flow_run(UUID(str(found[0].id)), {"approved": approved, "reason": reason})
    return found[0].name


def _told(run: FlowRun) -> str:
    return f"{run.name} ({run.id})"

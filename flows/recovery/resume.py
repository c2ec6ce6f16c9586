"""A deployed run whose process was lost is started again by itself, a few times and no more.

A run that no deployment made can only be told to its owner: nobody would take it up.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import AwaitingRetry

from flows.config import LimitsConfig
from flows.studies.table import named, parsed
from storage.errors import ConfigError

WAIT_SECONDS = 10.0
"""Before a lost run begins again: a GPU's memory and the locks of the dead come free."""


def times_begun(client: SyncPrefectClient, run: FlowRun) -> int:
    """Return how often a run was taken up; Prefect counts only how often it got to `Running`."""
    states = client.read_flow_run_states(run.id)
    return max(run.run_count, sum(state.name == "Pending" for state in states))


def verdict(run: FlowRun, times: int, command: str) -> str:
    """Say what becomes of a run that was begun so many times, or what its owner has to do."""
    if run.deployment_id is None:
        return f"Go on with: {command}" if command else "Run it again: what is done stays done."
    if may_resume(run, times):
        return f"It resumes by itself, for time {times} of {allowed(run)}."
    return (
        f"It was begun {times} times, and limits.resumes={allowed(run)}: find out why it "
        "is lost, then press Retry in the UI."
    )


def may_resume(run: FlowRun, times: int) -> bool:
    """Say whether a lost run that was begun so many times is to begin again by itself."""
    return run.deployment_id is not None and times <= allowed(run)


def allowed(run: FlowRun) -> int:
    """Return how often a run may resume, by its own configuration."""
    given: dict[str, Any] = run.parameters
    try:
        config = given.get("config")
        study = parsed(given["part"], config) if config else named(given["recipe"])
        return study.override(given.get("overrides", ())).limits.resumes
    except (KeyError, ValueError, ConfigError):
        return LimitsConfig().resumes


def resume(client: SyncPrefectClient, run: FlowRun, times: int) -> None:
    """Let a lost run's deployment begin it again."""
    state: State[None] = AwaitingRetry(
        scheduled_time=datetime.now(UTC) + timedelta(seconds=WAIT_SECONDS),
        message=f"Its process was lost; resumed by itself, for time {times}.",
    )
    client.set_flow_run_state(run.id, state, force=True)

"""A deployed run that crashed is restarted automatically, up to `limits.resumes` times.

A run without a deployment cannot be restarted from here: its owner is given the command instead.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import AwaitingRetry

from flows.config import LimitsConfig
from flows.studies.table import named, parsed
from flows.ui.states import StateName
from storage.errors import ConfigError

DELAY_SECONDS = 10.0
"""Before a restart, so that the dead process's GPU memory and locks are free."""


def times_started(client: SyncPrefectClient, run: FlowRun) -> int:
    """Return how often a process was given the run; Prefect's `run_count` omits failed starts."""
    states = client.read_flow_run_states(run.id)
    return max(run.run_count, sum(state.name == StateName.PENDING for state in states))


def describe_decision(run: FlowRun, times: int, command: str) -> str:
    """Return what happens to a run that was started `times` times, or what its owner has to do.

    Args:
        run: the crashed run.
        times: see `times_started`.
        command: the command line that started it; empty if none did.
    """
    if run.deployment_id is None:
        if command:
            return f"Resume it with: {command}"
        return "Run the same command again: finished work is kept."
    if may_resume(run, times):
        return f"It restarts automatically (restart {times} of {allowed(run)})."
    return (
        f"It was started {times} times, and limits.resumes={allowed(run)} allows no more restarts: "
        "find out why it crashes, then press Retry in the UI."
    )


def may_resume(run: FlowRun, times: int) -> bool:
    """Whether a crashed run that was started `times` times is to be restarted automatically."""
    return run.deployment_id is not None and times <= allowed(run)


def allowed(run: FlowRun) -> int:
    """Return how often a run may be restarted, by its own configuration."""
    given: dict[str, Any] = run.parameters
    try:
        config = given.get("config")
        study = parsed(given["part"], config) if config else named(given["recipe"])
        return study.override(given.get("overrides", ())).limits.resumes
    except (KeyError, ValueError, ConfigError):
        return LimitsConfig().resumes


def resume(client: SyncPrefectClient, run: FlowRun, times: int) -> None:
    """Schedule a crashed run again; its deployment's runner or worker then starts it."""
    state: State[None] = AwaitingRetry(
        scheduled_time=datetime.now(UTC) + timedelta(seconds=DELAY_SECONDS),
        message=f"Its process died; restarted automatically (restart {times}).",
    )
    client.set_flow_run_state(run.id, state, force=True)

"""A deployed run whose process was lost is started again by itself, a few times and no more.

A run that no deployment made can only be told to its owner: nobody would take it up.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import AwaitingRetry

from flows.config import LimitsConfig, StudyConfig
from flows.recipes import named
from storage.errors import ConfigError

WAIT_SECONDS = 10.0
"""Before a lost run begins again: a GPU's memory and the locks of the dead come free."""


def verdict(run: FlowRun, command: str) -> str:
    """Say what becomes of a lost run, or what its owner has to do."""
    if run.deployment_id is None:
        return f"Go on with: {command}" if command else "Run it again: what is done stays done."
    if may_resume(run):
        return f"It resumes by itself, for time {run.run_count} of {allowed(run)}."
    return (
        f"It was begun {run.run_count} times, and limits.resumes={allowed(run)}: find out why it "
        "is lost, then press Retry in the UI."
    )


def may_resume(run: FlowRun) -> bool:
    """Say whether a lost run is to begin again by itself."""
    return run.deployment_id is not None and run.run_count <= allowed(run)


def allowed(run: FlowRun) -> int:
    """Return how often a run may resume, by its own configuration."""
    given: dict[str, Any] = run.parameters
    try:
        config = given.get("config")
        study = StudyConfig.model_validate(config) if config else named(given["recipe"])
        return study.override(given.get("overrides", ())).limits.resumes
    except (KeyError, ValueError, ConfigError):
        return LimitsConfig().resumes


def resume(client: SyncPrefectClient, run: FlowRun) -> None:
    """Let a lost run's deployment begin it again."""
    state: State[None] = AwaitingRetry(
        scheduled_time=datetime.now(UTC) + timedelta(seconds=WAIT_SECONDS),
        message=f"Its process was lost; resumed by itself, for time {run.run_count}.",
    )
    client.set_flow_run_state(run.id, state, force=True)

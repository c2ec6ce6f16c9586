"""Schedules that look alive and are not: active, and no run is ahead."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort

PAGE = 200
GRACE = timedelta(minutes=3)
"""The server's scheduler comes round once a minute; a schedule this young may still wait for it."""
SCHEDULED = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))


def upcoming(client: SyncPrefectClient) -> dict[str, datetime | None]:
    """Return when each deployment that has an active schedule runs next; none: no run is ahead.

    Those whose schedule is too young to tell are left out. So that a year's schedule is known from
    a dead one, note that the server plans a hundred days ahead.
    """
    young = datetime.now(UTC) - GRACE
    return {
        deployment.name: _next(client, deployment)
        for deployment in _deployments(client)
        if not deployment.paused
        and any(
            schedule.active and schedule.updated and schedule.updated < young
            for schedule in deployment.schedules
        )
    }


def _deployments(client: SyncPrefectClient) -> Iterator[DeploymentResponse]:
    offset = 0
    while page := client.read_deployments(limit=PAGE, offset=offset):
        yield from page
        offset += PAGE


def _next(client: SyncPrefectClient, deployment: DeploymentResponse) -> datetime | None:
    runs = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=SCHEDULED),
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=PAGE,
    )
    ahead = [
        run.expected_start_time
        for run in runs
        if run.auto_scheduled
        and run.expected_start_time
        and run.expected_start_time > datetime.now(UTC)
    ]
    return min(ahead, default=None)

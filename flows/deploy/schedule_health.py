"""Schedules that do not fire as they should: never, or not by the clock that they name."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

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
from prefect.client.schemas.schedules import SCHEDULE_TYPES, CronSchedule, IntervalSchedule
from prefect.client.schemas.sorting import FlowRunSort

PAGE = 200
GRACE = timedelta(minutes=3)
"""The server's scheduler runs once a minute; a newer schedule may still wait for it."""
SCHEDULED = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))


def upcoming(client: SyncPrefectClient) -> dict[str, datetime | None]:
    """Return when each deployment with an active schedule runs next; None: no run is planned.

    Deployments whose schedule is newer than `GRACE` are left out. The server plans a hundred days
    ahead, so a schedule that fires once a year may rightly have no planned run.
    """
    newest = datetime.now(UTC) - GRACE
    return {
        deployment.name: _next(client, deployment)
        for deployment in _deployments(client)
        if not deployment.paused
        and any(
            schedule.active and schedule.updated and schedule.updated < newest
            for schedule in deployment.schedules
        )
    }


def off_the_clock(client: SyncPrefectClient) -> list[str]:
    """Return the deployments whose active schedules fire at other times than they seem to say.

    Earlier versions made them, or other programs: intervals of days where clocks are changed,
    which Prefect counts in seconds, and cron with a sixth field, which it takes for seconds.
    """
    return [
        deployment.name
        for deployment in _deployments(client)
        if any(one.active and _is_off_the_clock(one.schedule) for one in deployment.schedules)
    ]


def _is_off_the_clock(schedule: SCHEDULE_TYPES) -> bool:
    if isinstance(schedule, CronSchedule):
        return len(schedule.cron.split()) > 5
    if not isinstance(schedule, IntervalSchedule) or schedule.interval < timedelta(days=1):
        return False
    # This year's: some countries have given up changing their clocks.
    year, zone = datetime.now(UTC).year, ZoneInfo(schedule.timezone or "UTC")
    january, july = (datetime(year, month, 1, tzinfo=zone) for month in (1, 7))
    return january.utcoffset() != july.utcoffset()


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
    planned = [
        run.expected_start_time
        for run in runs
        if run.auto_scheduled
        and run.expected_start_time
        and run.expected_start_time > datetime.now(UTC)
    ]
    return min(planned, default=None)

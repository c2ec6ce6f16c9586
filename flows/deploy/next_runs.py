"""When schedules fire next, by the code with which the server plans them."""

import asyncio
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from prefect.schedules import Schedule
from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

from flows.deploy.schedule import Timing

SHOWN = 5
"""Enough of a schedule of workdays to show a weekend."""
Planned = CronSchedule | IntervalSchedule | RRuleSchedule


def next_runs(timing: Timing, after: datetime | None = None) -> list[datetime]:
    """Return the next times at which a timing's schedules fire, in local time with its offset.

    Args:
        timing: without a schedule there are none.
        after: an aware time; without it, now.
    """
    start, zone = after or datetime.now(UTC), ZoneInfo(timing.timezone)
    found = {
        date.timestamp()
        for schedule in timing.schedules()
        for date in asyncio.run(planned(schedule).get_dates(n=SHOWN, start=start))
    }
    # In an hour that the clock has twice, the server also plans what is over since the first.
    coming = sorted(second for second in found if second >= start.timestamp())
    return [datetime.fromtimestamp(second, zone) for second in coming[:SHOWN]]


def planned(schedule: Schedule) -> Planned:
    """Return a schedule as the server holds it."""
    zone = schedule.timezone
    if schedule.cron:
        return CronSchedule(cron=schedule.cron, timezone=zone)
    if schedule.rrule:
        return RRuleSchedule(rrule=schedule.rrule, timezone=zone)
    assert schedule.interval, "a schedule is one of the three"
    held = {"interval": schedule.interval, "anchor_date": schedule.anchor_date, "timezone": zone}
    return IntervalSchedule.model_validate(held)

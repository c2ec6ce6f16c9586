"""Schedules: which are read, and which are refused with their value."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

from flows.deploy.schedule import NEVER, Timing
from storage.errors import ConfigError


def test_cron_and_interval_in_one_time_zone() -> None:
    cron, interval = Timing("0 3 * * 1-5", "2w", "Europe/Berlin").schedules()
    assert (cron.cron, cron.timezone) == ("0 3 * * 1-5", "Europe/Berlin")
    assert (interval.interval, interval.timezone) == (timedelta(weeks=2), "Europe/Berlin")
    assert cron.cron and CronSchedule(cron=cron.cron, timezone=cron.timezone)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("6h", 21600), ("1d", 86400)]
)
def test_an_interval_is_counted_from_a_fixed_midnight(text: str, seconds: int) -> None:
    """Otherwise, deployed anew each hour, a daily run would never start."""
    [first], [again] = (Timing(every=text, timezone="Asia/Tokyo").schedules() for _ in range(2))
    assert first == again
    assert first.interval == timedelta(seconds=seconds)
    assert first.anchor_date == datetime(2024, 1, 1, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert first.anchor_date.weekday() == 0
    IntervalSchedule(interval=first.interval, anchor_date=first.anchor_date)


def test_without_either_there_is_no_schedule() -> None:
    assert NEVER.schedules() == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cron": "every night"}, "--cron 'every night' is not a valid cron expression"),
        ({"cron": "61 3 * * *"}, "--cron '61 3"),
        (
            {"every": "6 hours"},
            "--every '6 hours' is not a valid interval; give one such as 90s, 30m",
        ),
        ({"every": "0h"}, "--every '0h'"),
        ({"every": "1h", "timezone": "Mars/Olympus"}, "unknown time zone 'Mars/Olympus'"),
    ],
)
def test_what_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("*", r"\*")):
        Timing(**given).schedules()

"""What the server plans, replayed by its own code over the clock changes of 2027."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from prefect.server.schemas.schedules import IntervalSchedule

from flows.deploy.next_runs import SHOWN, next_runs, planned
from flows.deploy.schedule import Timing

BERLIN, NEW_YORK, CAIRO = "Europe/Berlin", "America/New_York", "Africa/Cairo"
CHANGES = [
    (BERLIN, date(2027, 3, 28)),
    (BERLIN, date(2027, 10, 31)),
    (NEW_YORK, date(2027, 3, 14)),
    (NEW_YORK, date(2027, 11, 7)),
]
"""All Sundays."""
MIN_RUNS = 3
"""How far ahead the server plans what is rarer than hourly."""
over_each_change = pytest.mark.parametrize(("zone", "day"), CHANGES)


def replay(timing: Timing, begin: datetime, end: datetime, change: date) -> list[datetime]:
    """Return what the server starts in a period, in local time.

    It plans a few runs ahead, again and again; a date that it knows by its text is no new run.
    Here every 17 hours, and each 50 minutes from the eve of a clock change to the day after.
    """
    zone = ZoneInfo(timing.timezone)
    [schedule] = timing.schedules()
    rule = planned(schedule)
    runs: dict[str, float] = {}
    for now in _moments(begin, end, change, zone):
        # As the server does when it reads a schedule from its database.
        stored = type(rule).model_validate_json(rule.model_dump_json())
        for when in asyncio.run(stored.get_dates(n=MIN_RUNS, start=now)):
            runs[str(when)] = when.timestamp()
    known = {when for when in runs.values() if begin.timestamp() <= when < end.timestamp()}
    texts = [text for text, when in runs.items() if when in known]
    assert len(texts) == len(known), "the same moment by two texts would be two runs"
    return [datetime.fromtimestamp(when, zone) for when in sorted(known)]


def _moments(begin: datetime, end: datetime, change: date, zone: ZoneInfo) -> Iterator[datetime]:
    now = begin
    while now < end:
        yield now
        near = abs((now.astimezone(zone).date() - change).days) <= 1
        now += timedelta(minutes=50) if near else timedelta(hours=17, minutes=7)


def midnight(day: date, zone: str) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def replayed(timing: Timing, change: date, days: int) -> list[datetime]:
    """Return the runs of the days around a clock change."""
    begin, end = (midnight(change + timedelta(n), timing.timezone) for n in (-days, days + 1))
    return replay(timing, begin, end, change)


def days_around(change: date, days: int) -> list[date]:
    return [change + timedelta(n) for n in range(-days, days + 1)]


@over_each_change
@pytest.mark.parametrize("timing", [{"every": "1d"}, {"cron": "0 0 * * *"}], ids=str)
def test_one_run_a_day_at_midnight(zone: str, day: date, timing: dict[str, str]) -> None:
    runs = replayed(Timing(**timing, timezone=zone), day, 5)
    assert [run.date() for run in runs] == days_around(day, 5)
    assert {run.time() for run in runs} == {time(0)}
    assert len({run.utcoffset() for run in runs}) == 2, "the clock was changed"


@over_each_change
def test_one_run_a_day_at_three(zone: str, day: date) -> None:
    """The hour that begins where a skipped one ends."""
    runs = replayed(Timing("0 3 * * *", timezone=zone), day, 5)
    assert [run.date() for run in runs] == days_around(day, 5)
    assert {run.time() for run in runs} == {time(3)}


@over_each_change
@pytest.mark.parametrize(
    ("timing", "at"),
    [
        ({"every": "1w"}, time(0)),
        ({"cron": "0 0 * * 1"}, time(0)),
        ({"cron": "0 4 * * 1"}, time(4)),
    ],
    ids=str,
)
def test_one_run_a_week_on_monday(zone: str, day: date, timing: dict[str, str], at: time) -> None:
    runs = replayed(Timing(**timing, timezone=zone), day, 24)
    mondays = [one for one in days_around(day, 24) if one.weekday() == 0]
    assert [(run.date(), run.time()) for run in runs] == [(monday, at) for monday in mondays]


@over_each_change
def test_every_other_week(zone: str, day: date) -> None:
    runs = replayed(Timing(every="2w", timezone=zone), day, 30)
    mondays = [one for one in days_around(day, 30) if (one - date(2024, 1, 1)).days % 14 == 0]
    assert [(run.date(), run.time()) for run in runs] == [(monday, time(0)) for monday in mondays]


@pytest.mark.parametrize(("zone", "day"), [CHANGES[0], CHANGES[2]])
@pytest.mark.parametrize("cron", ["30 2 * * *", "30 2 * * 0"])
def test_an_hour_that_does_not_exist_is_an_hour_early(zone: str, day: date, cron: str) -> None:
    runs = replayed(Timing(cron, timezone=zone), day, 8)
    weekly = cron.endswith("0")
    expected = [one for one in days_around(day, 8) if one.weekday() == 6 or not weekly]
    assert [run.date() for run in runs] == expected
    assert {run.date(): run.time() for run in runs if run.time() != time(2, 30)} == {
        day: time(1, 30)
    }


@pytest.mark.parametrize(
    ("zone", "day", "cron", "at"),
    [
        (BERLIN, date(2027, 10, 31), "30 2 * * *", time(2, 30)),
        (BERLIN, date(2027, 10, 31), "30 2 * * 0", time(2, 30)),
        (NEW_YORK, date(2027, 11, 7), "30 1 * * *", time(1, 30)),
        (NEW_YORK, date(2027, 11, 7), "30 1 * * 0", time(1, 30)),
    ],
)
def test_an_hour_that_comes_twice_runs_once_in_the_first(
    zone: str, day: date, cron: str, at: time
) -> None:
    runs = replayed(Timing(cron, timezone=zone), day, 8)
    weekly = cron.endswith("0")
    expected = [one for one in days_around(day, 8) if one.weekday() == 6 or not weekly]
    assert [(run.date(), run.time()) for run in runs] == [(one, at) for one in expected]
    [twice] = [run for run in runs if run.date() == day]
    assert twice.utcoffset() == runs[0].utcoffset(), "still by the clock of summer"


def test_a_midnight_that_does_not_exist_is_an_hour_early() -> None:
    """Of Cairo, whose clock goes from midnight to one on the last Friday of April."""
    day = date(2027, 4, 30)
    runs = replayed(Timing(every="1d", timezone=CAIRO), day, 3)
    late = [run for run in runs if run.time() != time(0)]
    assert [(run.date(), run.time()) for run in late] == [(day - timedelta(1), time(23))]
    assert len(runs) == len(days_around(day, 3))


@over_each_change
@pytest.mark.parametrize("hours", [6, 24, 36])
def test_hours_are_time_that_passes(zone: str, day: date, hours: int) -> None:
    runs = replayed(Timing(every=f"{hours}h", timezone=zone), day, 5)
    stamps = [run.timestamp() for run in runs]
    gaps = {after - before for before, after in pairwise(stamps)}
    assert gaps == {hours * 3600}
    first = midnight(date(2024, 1, 1), zone).timestamp()
    assert (stamps[0] - first) % (hours * 3600) == 0


def test_intervals_of_prefect_are_no_days() -> None:
    """Why days are rules: a winter's midnight, counted in seconds, is one o'clock in summer."""
    winter = datetime(2024, 1, 1, tzinfo=ZoneInfo(BERLIN))
    held = {"interval": timedelta(days=1), "anchor_date": winter, "timezone": BERLIN}
    interval = IntervalSchedule.model_validate(held)
    [summer] = asyncio.run(interval.get_dates(n=1, start=datetime(2027, 7, 1, 12, tzinfo=UTC)))
    assert summer.astimezone(ZoneInfo(BERLIN)).time() == time(1)


def test_the_next_runs_are_local_and_of_both_schedules() -> None:
    after = datetime(2027, 3, 27, 12, tzinfo=UTC)
    runs = next_runs(Timing("0 9 * * 1-5", "1d", BERLIN), after)
    assert [run.isoformat() for run in runs] == [
        "2027-03-28T00:00:00+01:00",
        "2027-03-29T00:00:00+02:00",
        "2027-03-29T09:00:00+02:00",
        "2027-03-30T00:00:00+02:00",
        "2027-03-30T09:00:00+02:00",
    ]
    assert next_runs(Timing(timezone=BERLIN), after) == []


def test_a_time_of_both_schedules_is_shown_once() -> None:
    runs = next_runs(Timing("0 0 * * *", "1d"), datetime(2027, 1, 1, 0, 0, tzinfo=UTC))
    assert [run.day for run in runs] == list(range(1, SHOWN + 1))


def test_what_is_over_is_not_shown() -> None:
    """In an hour that comes twice, the server plans the first once more: it knows that run."""
    second_pass = datetime(2027, 10, 31, 1, 10, tzinfo=UTC)
    [first, *_] = next_runs(Timing("30 2 * * *", timezone=BERLIN), second_pass)
    assert first.isoformat() == "2027-11-01T02:30:00+01:00"


def test_what_fires_each_leap_year_is_shown() -> None:
    runs = next_runs(Timing("0 0 29 2 *"), datetime(2027, 1, 1, tzinfo=UTC))
    assert [run.year for run in runs] == [2028, 2032, 2036, 2040, 2044]

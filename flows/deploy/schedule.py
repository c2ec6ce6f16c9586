"""Schedules of a deployment, judged when they are made, and what they mean when clocks change.

- Cron, days and weeks go by the local clock: once a day, or once a week, at the same local hour.
  Where a clock goes forward over that hour, the run is by the clock of after the change, an hour
  early by that of before (02:30 becomes 01:30; in Cairo and Havana, whose clocks go forward at
  midnight, midnight becomes 23:00 of the day before). Where the hour comes twice, it is the first.
- Hours, minutes and seconds are time that passes: `6h` is always six hours after the last. By the
  local clock its runs are an hour later in summer than in winter, and so are those of `24h`.

Prefect reads its settings when it is imported, so it is imported only when a schedule is made for
a server that is known by then.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

from flows.deploy import cron
from storage.errors import ConfigError, nearest

if TYPE_CHECKING:
    from prefect.schedules import Schedule

ANCHOR = datetime(2024, 1, 1)
"""A Monday, in the schedule's time zone, from which intervals are counted."""
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
LOCAL = {"d": "DAILY", "w": "WEEKLY"}
"""Units that go by the local clock, as iCalendar's recurrence rules name them."""
LONGEST_DAYS = 366
NOWHERE = {"Factory", "localtime"}
"""Names in the time zone database that Prefect does not know, and that are no place's."""


@dataclass(frozen=True)
class Timing:
    """Cron, an interval, both, or neither: then runs are started manually.

    Raises:
        ConfigError: one of them, or the time zone, is not valid, or the cron never fires.
    """

    cron: str = ""
    """Five fields: minute, hour, day, month, weekday."""
    every: str = ""
    """Such as `90s`, `30m`, `6h`, `1d` or `2w`."""
    timezone: str = "UTC"
    """The time zone of both, such as `Europe/Berlin`."""

    def __post_init__(self) -> None:
        if self.timezone != "UTC":
            _judge_timezone(self.timezone)
        if self.cron:
            cron.judge(self.cron)
        if self.every:
            _interval(self.every)

    def schedules(self) -> "list[Schedule]":
        """Return the schedules, of which a deployment may have several."""
        from prefect.schedules import Cron  # noqa: PLC0415

        found = [Cron(self.cron, timezone=self.timezone)] if self.cron else []
        return [*found, self._repeated()] if self.every else found

    def _repeated(self) -> "Schedule":
        """Return the schedule of the interval.

        Counted from a fixed time: otherwise each new deployment would postpone the next run.
        """
        from prefect.schedules import Interval, RRule  # noqa: PLC0415

        count, unit = _interval(self.every)
        if unit in LOCAL:
            # Not an interval of Prefect's: the server finds the day to begin with by counting
            # seconds from the anchor, and is then an hour off all summer, and between two runs of
            # different hours for as many intervals after a change as it plans ahead.
            rule = f"DTSTART:{ANCHOR:%Y%m%dT%H%M%S}\nRRULE:FREQ={LOCAL[unit]};INTERVAL={count}"
            return RRule(rule, timezone=self.timezone)
        # In UTC, where 24 h are a day: of a place, Prefect would make 24 h and more local days.
        anchor = ANCHOR.replace(tzinfo=ZoneInfo(self.timezone)).astimezone(UTC)
        every = timedelta(seconds=count * SECONDS[unit])
        return Interval(every, anchor_date=anchor, timezone="UTC")


NEVER = Timing()


def _judge_timezone(name: str) -> None:
    known = available_timezones() - NOWHERE
    if name in known:
        return
    # Of a place: the nearest of CEST would be EST, which is another continent's.
    close = nearest(name, (one for one in known if "/" in one))
    remedy = f"did you mean '{close}'?" if close else "give a name such as Europe/Berlin or UTC"
    raise ConfigError(f"unknown time zone '{name}'; {remedy}")


def _interval(text: str) -> tuple[int, str]:
    read = re.fullmatch(r"([0-9]{1,9})([smhdw])", text)
    if not read or not int(read[1]):
        raise ConfigError(
            f"--every '{text}' is not a valid interval; give one such as 90s, 30m, 6h, 1d or 2w"
        )
    count, unit = int(read[1]), read[2]
    if count * SECONDS[unit] > LONGEST_DAYS * SECONDS["d"]:
        raise ConfigError(
            f"--every '{text}' is more than a year; give an interval of up to {LONGEST_DAYS}d, or "
            "--cron '0 3 1 1 *' for a date"
        )
    return count, unit

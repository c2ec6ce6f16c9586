"""When a deployment runs by itself.

Prefect reads its settings when it is imported, so it is not before a schedule is made.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

from storage.errors import ConfigError

if TYPE_CHECKING:
    from prefect.schedules import Schedule

ANCHOR = datetime(2024, 1, 1)
"""A Monday, by whatever clock is asked for: from here intervals are counted."""
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class Timing:
    """Cron, an interval, both, or neither: then it runs when somebody starts it."""

    cron: str = ""
    every: str = ""
    """Such as `90s`, `30m`, `6h`, `1d` or `2w`."""
    timezone: str = "UTC"
    """By whose clock, such as `Europe/Berlin`."""

    def schedules(self) -> "list[Schedule]":
        """Return the schedules.

        Raises:
            ConfigError: one of them, or the time zone, cannot be read.
        """
        from prefect.schedules import Cron, Interval  # noqa: PLC0415

        if self.timezone not in available_timezones():
            raise ConfigError(f"unknown time zone '{self.timezone}'; give one like Europe/Berlin")
        found = []
        if self.cron:
            try:
                found.append(Cron(self.cron, timezone=self.timezone))
            except ValueError as error:
                raise ConfigError(
                    f"--cron '{self.cron}' cannot be read; write minute, hour, day, month and "
                    "weekday, such as '0 3 * * 1-5'"
                ) from error
        if self.every:
            # Counted from a fixed time, or each deployment anew would put the next run off.
            anchor = ANCHOR.replace(tzinfo=ZoneInfo(self.timezone))
            every = _interval(self.every)
            found.append(Interval(every, anchor_date=anchor, timezone=self.timezone))
        return found


NEVER = Timing()


def _interval(text: str) -> timedelta:
    read = re.fullmatch(r"(\d+)([smhdw])", text)
    if not read or not int(read[1]):
        raise ConfigError(f"--every '{text}' cannot be read; write 90s, 30m, 6h, 1d or 2w")
    return timedelta(**{UNITS[read[2]]: int(read[1])})

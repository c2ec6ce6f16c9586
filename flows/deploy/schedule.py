"""Schedules of a deployment.

Prefect reads its settings when it is imported, so it is imported only when a schedule is made.
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
"""A Monday, in the schedule's time zone, from which intervals are counted."""
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class Timing:
    """Cron, an interval, both, or neither: then runs are started manually."""

    cron: str = ""
    every: str = ""
    """Such as `90s`, `30m`, `6h`, `1d` or `2w`."""
    timezone: str = "UTC"
    """The time zone of both, such as `Europe/Berlin`."""

    def schedules(self) -> "list[Schedule]":
        """Return the schedules.

        Raises:
            ConfigError: one of them, or the time zone, is not valid.
        """
        from prefect.schedules import Cron, Interval  # noqa: PLC0415

        if self.timezone not in available_timezones():
            raise ConfigError(
                f"unknown time zone '{self.timezone}'; give a name such as Europe/Berlin or UTC"
            )
        found = []
        if self.cron:
            try:
                found.append(Cron(self.cron, timezone=self.timezone))
            except ValueError as error:
                raise ConfigError(
                    f"--cron '{self.cron}' is not a valid cron expression; give minute, hour, day, "
                    "month and weekday, such as '0 3 * * 1-5'"
                ) from error
        if self.every:
            # Counted from a fixed time: otherwise each new deployment would postpone the next run.
            anchor = ANCHOR.replace(tzinfo=ZoneInfo(self.timezone))
            every = _interval(self.every)
            found.append(Interval(every, anchor_date=anchor, timezone=self.timezone))
        return found


NEVER = Timing()


def _interval(text: str) -> timedelta:
    read = re.fullmatch(r"(\d+)([smhdw])", text)
    if not read or not int(read[1]):
        raise ConfigError(
            f"--every '{text}' is not a valid interval; give one such as 90s, 30m, 6h, 1d or 2w"
        )
    return timedelta(**{UNITS[read[2]]: int(read[1])})

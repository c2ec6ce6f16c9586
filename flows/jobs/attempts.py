"""How long a job took over all attempts: each leaves its seconds in the run directory."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from storage.errors import ManifestError
from storage.files import read_json, write_json
from storage.home.job_events import JobEvent
from storage.home.runs import Run

WRITE_SECONDS = 10.0


class AttemptTiming:
    """One attempt at a job, from here to the end of the `with` block.

    Its seconds are written as the job reports: where the machine dies, they count up to the job's
    last events.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._before = seconds_of(run)
        self._began = self._written = time.monotonic()

    @property
    def earlier_seconds(self) -> float:
        """Of all attempts before this one."""
        return sum(self._before)

    def timing(self, on_event: Callable[[JobEvent], None]) -> Callable[[JobEvent], None]:
        """Return what passes a job's events on, and keeps the time."""

        def pass_on(event: JobEvent) -> None:
            if time.monotonic() - self._written >= WRITE_SECONDS:
                self._write()
            on_event(event)

        return pass_on

    def __enter__(self) -> Self:
        self._write()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        write_json(self._run.attempts, [*self._before, round(self._written - self._began, 3)])


def seconds_of(run: Run) -> list[float]:
    """Return the seconds of each attempt at a job; none where there was none."""
    try:
        return [float(seconds) for seconds in read_json(run.attempts)]
    except (ManifestError, TypeError, ValueError):
        return []

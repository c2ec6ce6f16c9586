"""How often a failing server is asked again, how long is waited, and what is given up on."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from storage.errors import SourceError

PASSING = frozenset({408, 425, 429})
"""With all of 5xx: statuses that another attempt may better."""
ELSEWHERE = "name another server with data.mirror"


@dataclass(frozen=True)
class RetryPolicy:
    """How often a failing server is asked again, and how long each answer may take."""

    attempts: int = 10
    """Failures in a row that are given up on; the defaults bear an outage of three minutes."""
    first_seconds: float = 0.5
    """Wait after the first failure; each later one doubles it."""
    longest_seconds: float = 60.0
    retry_after_seconds: float = 300.0
    """Longest wait that a server may ask for."""
    progress_bytes: int = 1 << 20
    """Failures count anew after so many bytes have come."""
    connect_seconds: float = 15.0
    silence_seconds: float = 60.0
    """A connection on which nothing comes for so long is lost."""
    sleep: Callable[[float], object] = time.sleep


DEFAULT_RETRIES = RetryPolicy()


class PassingError(Exception):
    """What another attempt may better; `wait` is what the server asks for, in seconds."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


class Attempts:
    """Counts failures in a row, and waits after each."""

    def __init__(self, name: str, patience: RetryPolicy) -> None:
        self._name, self._patience = name, patience
        self._failures = self._came = 0

    def came(self, count: int) -> None:
        """Note bytes that came: enough of them make up for earlier failures."""
        self._came += count
        if self._came >= self._patience.progress_bytes:
            self._failures = self._came = 0

    def failed(self, error: PassingError) -> None:
        """Wait before the next attempt; raise `SourceError` if there were enough."""
        patience = self._patience
        self._failures += 1
        if self._failures >= patience.attempts:
            raise SourceError(
                f"{self._name} failed {self._failures} times in a row, last by: {error}; run again "
                f"when the server is well, or {ELSEWHERE}"
            ) from error
        wait = min(patience.first_seconds * 2 ** (self._failures - 1), patience.longest_seconds)
        # Spread, so that many connections lost at once do not come back at once.
        wait *= random.uniform(0.5, 1)
        patience.sleep(max(wait, min(error.wait, patience.retry_after_seconds)))


def seconds_asked(retry_after: str) -> float:
    """Return how long a Retry-After header asks to wait: seconds, or until a date."""
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0

"""How often a failing server is asked again, and how long to wait: HTTP archives and S3 alike."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from storage.errors import SourceError

_random = random.SystemRandom()
"""Not the seeded generator: processes with one seed would wait in step."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often a failing server is asked again, and how long each answer may take.

    The defaults are those of archive servers; a bucket's are in `storage.stores.s3.client`.
    """

    attempts: int = 10
    """Failures in a row after which to give up; the defaults outlast an outage of three minutes."""
    first_seconds: float = 0.5
    """Longest wait after the first failure; each later failure doubles it."""
    longest_seconds: float = 60.0
    spread: float = 0.5
    """Waits are drawn between (1 - spread) times the longest wait and the longest wait, so that
    many connections that were lost at once do not return at once."""
    retry_after_seconds: float = 300.0
    """Longest wait that a server may ask for."""
    progress_bytes: int = 1 << 20
    """Failures are counted from zero again after this many bytes have arrived."""
    connect_seconds: float = 15.0
    silence_seconds: float = 60.0
    """A connection that delivers nothing for this long is given up."""
    sleep: Callable[[float], object] = time.sleep

    def wait_seconds(self, failures: int) -> float:
        """Draw the wait after a number of failures in a row, counted from 1."""
        longest = min(self.first_seconds * 2.0 ** (failures - 1), self.longest_seconds)
        return longest * _random.uniform(1 - self.spread, 1)

    def pause(self, failures: int) -> None:
        """Wait before the next attempt."""
        self.sleep(self.wait_seconds(failures))


DEFAULT_RETRIES = RetryPolicy()


class TransientError(Exception):
    """A failure that another attempt may not meet; `wait` is what the server asks for, in s."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


class Attempts:
    """Counts failures in a row, and waits after each.

    `name` is what messages call the file, `remedy` what they advise when the attempts are used up.
    """

    def __init__(self, name: str, policy: RetryPolicy, remedy: str) -> None:
        self._name, self._policy, self._remedy = name, policy, remedy
        self._failures = self._received = 0

    def received(self, count: int) -> None:
        """Note bytes that arrived: enough of them reset the count of failures."""
        self._received += count
        if self._received >= self._policy.progress_bytes:
            self._failures = self._received = 0

    def failed(self, error: TransientError) -> None:
        """Wait before the next attempt; raise `SourceError` if that was the last one."""
        policy = self._policy
        self._failures += 1
        if self._failures >= policy.attempts:
            raise SourceError(
                f"{self._name} failed {self._failures} times in a row, last with: {error}; "
                f"{self._remedy}"
            ) from error
        asked = min(error.wait, policy.retry_after_seconds)
        policy.sleep(max(policy.wait_seconds(self._failures), asked))


def seconds_asked(retry_after: str) -> float:
    """Return how long a Retry-After header asks to wait: seconds, or until a date."""
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0

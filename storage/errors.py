"""Every error that Stemworks raises on purpose.

::

    StemworksError
      ConfigError          a setting is unknown, mistyped or contradictory
        HomeConflictError  a home already holds another configuration under this name
      DataError            a recording, an archive, a table or an object is unusable
        IntegrityError     bytes do not match their checksum or their size
        DecodeError        audio cannot be decoded
        SourceError        a server does not deliver a file, or delivers a different one
        ManifestError      a file, an object or a row is missing or malformed
      RunError             a run cannot start, resume or finish
        CheckpointError    weights cannot be read, or do not fit the model or the recipe
        LaunchError        a child process failed; has its exit code and last lines of output
          PreemptedError   a child process was stopped from outside; a retry resumes it
        LockedError        another process holds the lock on this work
        LostError          a worker process died during its work
        TimeLimitError     work exceeded its time limit and was stopped
        StoppedError       work was stopped together with its flow; a later run resumes it
      MachineError         the machine lacks something: a program, a port, disk space

A message says what is wrong, with the value, and what to do about it, in one sentence on which an
engineer can act. `exit_code` is what the command line returns.
"""

import difflib
from collections.abc import Iterable


class StemworksError(Exception):
    """Base class of every error raised on purpose."""

    exit_code = 1


class ConfigError(StemworksError):
    """A setting is unknown, mistyped or contradictory."""

    exit_code = 2


class HomeConflictError(ConfigError):
    """A home already holds another configuration under this name."""


class DataError(StemworksError):
    """A recording, an archive, a table or an object is unusable."""

    exit_code = 3


class IntegrityError(DataError):
    """Bytes do not match their checksum or their expected size."""


class DecodeError(DataError):
    """Audio cannot be decoded. `reason` is the short name used in the ledger.

    `facts` is what was measured up to there, a `storage.audio.decoding.Decoding`, if anything was;
    `sink` is what took the sound up to there.
    """

    def __init__(
        self,
        message: str,
        reason: str = "decode_error",
        facts: object | None = None,
        sink: object | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.facts = facts
        self.sink = sink


class SourceError(DataError):
    """A server does not deliver a file, or delivers a different one than was planned."""


class ManifestError(DataError):
    """A file, an object or a row is missing or malformed."""


class RunError(StemworksError):
    """A run cannot start, resume or finish."""

    exit_code = 4


class CheckpointError(RunError):
    """Weights cannot be read, or do not fit the model or the recipe."""


class LaunchError(RunError):
    """A child process failed. `tail` holds its last lines of output."""

    def __init__(self, message: str, returncode: int | None = None, tail: str = "") -> None:
        super().__init__(message)
        self.returncode = returncode
        self.tail = tail


class PreemptedError(LaunchError):
    """A child process was stopped from outside; a retry resumes from its last checkpoint."""


class LockedError(RunError):
    """Another process holds the lock on this work. `what` says which work and who, alone."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(f"{what}; {remedy}" if remedy else what)
        self.what = what


class LostError(RunError):
    """A worker process died during its work. `reason` is the short name used in the ledger."""

    def __init__(self, message: str, reason: str = "crash") -> None:
        super().__init__(message)
        self.reason = reason


class TimeLimitError(RunError):
    """Work exceeded its time limit and was stopped."""


class StoppedError(RunError):
    """Work was stopped because its flow was cancelled or stopped; a later run resumes it."""

    exit_code = 143


class MachineError(StemworksError):
    """The machine lacks something: a program, a port, disk space."""

    exit_code = 5


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that a mistyped one most resembles; empty if none does.

    Capitals do not count, and the beginning of exactly one name identifies it.
    """
    names = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), names, n=1)
    begun = [one for one in names if name and one.startswith(name.lower())]
    if close or len(begun) == 1:
        return names[(close or begun)[0]]
    return ""


def hint(name: str, known: Iterable[str], they_are: str) -> str:
    """Return what to say of an unknown name: the nearest one, or all of them.

    `they_are` introduces them all: `the flows are`.
    """
    names = list(known)
    close = nearest(name, names)
    return f"did you mean '{close}'?" if close else f"{they_are} {', '.join(names) or 'none'}"

"""Every error the system raises on purpose.

::

    StemworksError
      ConfigError          a setting is unknown, mistyped or contradictory
        HomeConflictError  a home already holds another configuration under this name
      DataError            a recording, an archive or a table is not what it claims to be
        IntegrityError     bytes do not match their checksum
        DecodeError        audio cannot be decoded
        SourceError        a server does not deliver an archive, or delivers another one
        ManifestError      a row is malformed or missing
      RunError             a run cannot start, resume or finish
        CheckpointError    weights cannot be read, or do not fit the model or the recipe
        LaunchError        a child process failed; carries its exit code and last lines
          PreemptedError   it was stopped from outside: trying again resumes it
        LockedError        another process is doing this very thing now
        LostError          a worker process did not survive its work
        TimeLimitError     it ran past its time
        StoppedError       it was stopped with its flow, resumably
      MachineError         the machine lacks something: a program, a port, disk space

A message says what was wrong, the value, and what to do about it, in one sentence a person on
call can act on. `exit_code` is what the command line returns.
"""


class StemworksError(Exception):
    """Root of every error raised on purpose."""

    exit_code = 1


class ConfigError(StemworksError):
    """A setting is unknown, mistyped or contradictory."""

    exit_code = 2


class HomeConflictError(ConfigError):
    """A home already holds another configuration under this name."""


class DataError(StemworksError):
    """A recording, an archive or a table is not what it claims to be."""

    exit_code = 3


class IntegrityError(DataError):
    """Bytes do not match their checksum or their promised size."""


class DecodeError(DataError):
    """Audio cannot be decoded. `reason` is the quarantine ledger's short name for it."""

    def __init__(self, message: str, reason: str = "decode_error") -> None:
        super().__init__(message)
        self.reason = reason


class SourceError(DataError):
    """A server does not deliver an archive, or delivers another one than was planned."""


class ManifestError(DataError):
    """A row is malformed or missing."""


class RunError(StemworksError):
    """A run cannot start, resume or finish."""

    exit_code = 4


class CheckpointError(RunError):
    """Weights cannot be read, or do not fit the model or the recipe."""


class LaunchError(RunError):
    """A child process failed."""

    def __init__(self, message: str, returncode: int | None = None, tail: str = "") -> None:
        super().__init__(message)
        self.returncode = returncode
        self.tail = tail


class PreemptedError(LaunchError):
    """A child process was stopped from outside: trying again goes on from its last checkpoint."""


class LockedError(RunError):
    """Another process is doing this very thing now."""


class LostError(RunError):
    """A worker process did not survive its work. `reason` is the ledger's short name for how."""

    def __init__(self, message: str, reason: str = "crash") -> None:
        super().__init__(message)
        self.reason = reason


class TimeLimitError(RunError):
    """Work ran past its time and was stopped."""


class StoppedError(RunError):
    """Work was stopped because its flow was: cancelled, or told to end. Again, it goes on."""

    exit_code = 143


class MachineError(StemworksError):
    """The machine lacks something: a program, a port, disk space."""

    exit_code = 5

"""Names that a run or a stage has on the Prefect server: states and tags, spelled once.

Nothing here imports Prefect, so every part of `flows` may use them.
"""

from enum import StrEnum


class StateName(StrEnum):
    """Names of states: Prefect's own, and the two that Stemworks adds."""

    SCHEDULED = "Scheduled"
    LATE = "Late"
    AWAITING_RETRY = "AwaitingRetry"
    PENDING = "Pending"
    RUNNING = "Running"
    PAUSED = "Paused"
    SUSPENDED = "Suspended"
    COMPLETED = "Completed"
    FAILED = "Failed"
    TIMED_OUT = "TimedOut"
    CRASHED = "Crashed"
    CANCELLING = "Cancelling"
    CANCELLED = "Cancelled"

    CACHED = "Cached"
    """Ours, of type completed: the stage's completion mark was found, and nothing ran."""
    SKIPPED = "Skipped"
    """Ours, of type cancelled: a schedule started a study that was still running."""

    @property
    def event(self) -> str:
        """The event that the server emits when a flow run enters this state."""
        return f"prefect.flow-run.{self.value}"


STEMWORKS_TAG = "stemworks"
"""On every run of a Stemworks deployment."""
SCHEDULED_TAG = "auto-scheduled"
"""Prefect's own, on every run that a schedule started."""

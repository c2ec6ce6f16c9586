"""What stops a run cleanly: a signal, losses that are not finite, memory that is full."""

import logging
import math
import signal
import threading
from contextlib import AbstractContextManager
from types import FrameType, TracebackType

import torch

from storage.errors import RunError
from training.checkpoints.checkpoint import Progress

SKIPS_IN_ROW = 20
SKIPS_AT_LEAST, SKIPPED_SHARE = 20, 0.01
"""Steps without an update that are forgiven: so many in a row, and 20 plus 1 % of all."""
STOPS = (signal.SIGTERM, signal.SIGINT)
"""Signals that end a run resumably, the weightiest first."""

logger = logging.getLogger(__name__)


class Interruption(AbstractContextManager["Interruption"]):
    """Notes SIGTERM and Ctrl-C, so that the loop can stop between two steps."""

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interruption":
        # Python sets signal handlers in the main thread only.
        if threading.current_thread() is threading.main_thread():
            for number in STOPS:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number

    def votes(self) -> list[int]:
        """Return, for each of `STOPS`, 1 if it came: to be summed over processes."""
        noted = self.signal
        return [int(noted == number) for number in STOPS]


def elected(votes: list[float]) -> int:
    """Return the weightiest signal that any process got, or 0."""
    came = [number for number, count in zip(STOPS, votes, strict=True) if count]
    return came[0] if came else 0


def account(progress: Progress, loss: float, grad_norm: float) -> bool:
    """Count a step; say whether it may change the weights."""
    progress.step += 1
    if math.isfinite(loss) and math.isfinite(grad_norm):
        progress.skipped_in_row = 0
        progress.window.append(loss)
        return True
    progress.skipped += 1
    progress.skipped_in_row += 1
    return False


def require_budget(progress: Progress) -> None:
    """Raise `RunError` when losses or gradients were not finite too often."""
    allowed = SKIPS_AT_LEAST + SKIPPED_SHARE * progress.step
    if progress.skipped_in_row >= SKIPS_IN_ROW or progress.skipped > allowed:
        raise RunError(
            f"{progress.skipped} of {progress.step} steps, the last {progress.skipped_in_row} in a "
            "row, had a loss or gradient that is not finite; listen to their samples (`skipped` "
            "rows of metrics.jsonl), lower optim.lr, lengthen optim.warmup_steps or set "
            "precision=float32"
        )


def is_exhaustion(error: BaseException) -> bool:
    """Say whether an error means that memory is full: of a GPU, or of the machine."""
    # torch reports what malloc refuses on a CPU as a plain RuntimeError.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError)
        and any(phrase in str(error) for phrase in ("can't allocate memory", "bad_alloc"))
    )

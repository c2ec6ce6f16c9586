"""Numbers out: one JSON line per logged step, TensorBoard events, and a line for people.

A row of `metrics.jsonl` has `kind` ("train" or "validation"), `step` (steps done), `steps` (steps
to do) and `loss` in dB. Train rows add `lr`, `grad_norm`, `seconds_per_step`,
`examples_per_second`, `data_wait` (share of the time spent waiting for data), `skipped` and
`eta_seconds`; validation rows add `examples` and `seconds`.
"""

import json
import logging
import os
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from torch.utils.tensorboard import SummaryWriter

from storage.files import write_bytes
from storage.runs import Run

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainRow:
    """What one logged step has to say."""

    step: int
    loss: float
    """Mean over the steps since the last row, in dB."""
    lr: float
    grad_norm: float
    """Before clipping."""
    skipped: int
    """Steps without an update so far."""
    logs: dict[str, float]
    """What the objective adds."""


class Stopwatch:
    """Time since the last logged row, and how much of it was spent waiting for data."""

    def __init__(self) -> None:
        self._start, self._waited, self._steps = time.perf_counter(), 0.0, 0

    def step(self, waited: float) -> None:
        """Count one step that waited this many seconds for its data."""
        self._waited += waited
        self._steps += 1

    def read(self) -> tuple[float, float]:
        """Return seconds per step, and the share of them spent waiting."""
        elapsed = max(time.perf_counter() - self._start, 1e-9)
        return elapsed / max(1, self._steps), min(1.0, self._waited / elapsed)


class Telemetry(AbstractContextManager["Telemetry"]):
    """The log of one run. Only the leading process writes; the others' calls do nothing.

    Args:
        run: where to write.
        steps: the run's total.
        batch_size: examples per step over all processes.
        leads: whether this process writes.
    """

    def __init__(self, run: Run, steps: int, batch_size: int, leads: bool) -> None:
        self._run, self._steps, self._batch_size, self._leads = run, steps, batch_size, leads
        self._writer: SummaryWriter | None = None
        self._watch = Stopwatch()

    def begin(self, step: int) -> None:
        """Take up the log at a step: rows beyond it, and a torn last line, are removed."""
        if not self._leads:
            return
        rows = [row for row in self._run.read_metrics() if row.get("step", 0) <= step]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write_bytes(self._run.metrics, text.encode())
        self._writer = SummaryWriter(str(self._run.tensorboard), purge_step=step + 1)
        self._watch = Stopwatch()

    def stepped(self, waited: float) -> None:
        """Count a step that waited this many seconds for its data."""
        self._watch.step(waited)

    def pause(self) -> None:
        """Leave what came since the last row (a validation, a checkpoint) out of the next."""
        self._watch = Stopwatch()

    def train(self, row: TrainRow) -> None:
        """Log a training row and a line such as `step 120/600 loss -8.31 ... eta 1m20s`."""
        if not self._leads:
            return
        seconds, waiting = self._watch.read()
        self._watch = Stopwatch()
        speed, eta = self._batch_size / seconds, (self._steps - row.step) * seconds
        numbers = {
            "loss": row.loss,
            "lr": row.lr,
            "grad_norm": row.grad_norm,
            "seconds_per_step": seconds,
            "examples_per_second": speed,
            "data_wait": waiting,
            "skipped": row.skipped,
            **row.logs,
        }
        self._write("train", row.step, {**numbers, "eta_seconds": eta})
        logger.info(
            "step %d/%d loss %.2f lr %.1e %.1f examples/s eta %s",
            row.step, self._steps, row.loss, row.lr, speed, duration(eta),
        )  # fmt: skip

    def validation(self, step: int, loss: float, examples: int, seconds: float) -> None:
        """Log a validation."""
        if not self._leads:
            return
        self._write("validation", step, {"loss": loss, "examples": examples, "seconds": seconds})
        logger.info("validation at step %d: loss %.2f (%.1f s)", step, loss, seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, kind: str, step: int, numbers: dict[str, float]) -> None:
        row = {"kind": kind, "step": step, "steps": self._steps, **numbers}
        with self._run.metrics.open("a") as stream:
            stream.write(json.dumps(row, allow_nan=False) + "\n")
            stream.flush()
            # A checkpoint may follow at once, and must not outlive the rows before it.
            os.fsync(stream.fileno())
        if self._writer is not None:
            for name, value in numbers.items():
                self._writer.add_scalar(f"{kind}/{name}", value, step)


def duration(seconds: float) -> str:
    """Return seconds as people say them: `45s`, `1m20s`, `3h05m`."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"

"""Numbers out: one JSON line per logged step, TensorBoard events, and a line for people.

A row of `metrics.jsonl` has `kind`, `step` (steps done), `steps` (steps to do) and `loss` in dB.

- `train` rows add `lr`, `grad_norm` (-1 for a step that was skipped), `seconds_per_step`,
  `examples_per_second`, `data_wait` (share of the time spent waiting for data), `skipped` (steps so
  far), `eta_seconds` and, on a GPU, `gpu_memory_gb` (the most that tensors held since the last
  row).
- `validation` rows add `examples` and `seconds`.
- `skipped` rows, one for each step without an update, have loss and `grad_norm` as text; and
  `first_example`, the number of the step's first example, and `keys` of all its samples.

In MixIT, train rows (of the leading process's last micro-batch) and validation rows (of all
examples) add `snr_louder` and `snr_quieter` (dB, of either mixture), `effective_sources` (exp of
the entropy of the outputs' energy shares, the mean over examples), `alive_outputs` (the same of the
mean shares: outputs that are used at all), `dominance` (mean share of the strongest output) and
`energy_shares` (mean share of each output).
"""

import json
import logging
import os
import time
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

import torch

from storage.config import Json
from storage.files import disk_errors, write_bytes
from storage.home.job_events import progress
from storage.home.runs import Run
from training.engine.snapshots import Snapshot
from training.objectives.objective import Numbers

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

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
    logs: Numbers
    """What the objective and the outputs add."""


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

    def begin(self, step: int, unjudged: bool = False) -> None:
        """Take up the log at a step: rows beyond it, and a torn last line, are removed.

        So is a validation at the very step, where its checkpoint does not know of it (`unjudged`).
        """
        if not self._leads:
            return
        rows = [row for row in self._run.read_metrics() if row.get("step", 0) <= step]
        if unjudged:
            rows = [row for row in rows if (row["kind"], row["step"]) != ("validation", step)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write_bytes(self._run.metrics, text.encode())
        # It imports boto3, among others: only the process that writes events pays for that.
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415

        with disk_errors(self._run.tensorboard):
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
        numbers: Numbers = {
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
        note = f"loss {row.loss:.2f} lr {row.lr:.1e} {speed:.1f} examples/s eta {duration(eta)}"
        done = progress(row.step, self._steps, "steps", note)
        logger.info("step %d/%d %s", row.step, self._steps, note, extra=done)

    def validation(self, step: int, numbers: Numbers, seconds: float) -> None:
        """Log a validation, whose `numbers` hold its `loss`."""
        if not self._leads:
            return
        self._write("validation", step, {**numbers, "seconds": seconds})
        logger.info("validation at step %d: loss %.2f (%.1f s)", step, numbers["loss"], seconds)

    def skipped(self, step: int, loss: float, grad_norm: float, keys: list[str]) -> None:
        """Log a step that changed no weights, and the keys of the samples it was made of."""
        if self._leads:
            # JSON has no word for what is not finite.
            row = {"loss": str(loss), "grad_norm": str(grad_norm)}
            first = (step - 1) * self._batch_size
            self._append("skipped", step, {**row, "first_example": first, "keys": keys})

    def snapshot(self, step: int, snapshot: Snapshot) -> None:
        """Show one example's signals, played in mono, and their spectrograms."""
        if self._writer is None:
            return
        with disk_errors(self._run.tensorboard):
            for name, sound in snapshot.sounds.items():
                mono = torch.from_numpy(sound.mean(axis=0, keepdims=True))
                self._writer.add_audio(f"snapshot/{name}", mono, step, snapshot.sample_rate)
                picture = snapshot.pictures[name]
                self._writer.add_image(f"snapshot/{name}", picture, step, dataformats="HWC")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            # Report what ended the run, not that its end could not be drawn.
            with suppress(OSError) if error else disk_errors(self._run.tensorboard):
                self._writer.close()
            self._writer = None

    def _write(self, kind: str, step: int, numbers: Numbers) -> None:
        self._append(kind, step, dict(numbers))
        if self._writer is None:
            return
        with disk_errors(self._run.tensorboard):
            for name, value in numbers.items():
                parts = enumerate(value) if isinstance(value, list) else [("", value)]
                for part, number in parts:
                    tag = f"{kind}/{name}" if part == "" else f"{kind}_{name}/{part:02d}"
                    self._writer.add_scalar(tag, number, step)

    def _append(self, kind: str, step: int, numbers: Json) -> None:
        row = {"kind": kind, "step": step, "steps": self._steps, **numbers}
        with disk_errors(self._run.metrics), self._run.metrics.open("a") as stream:
            stream.write(json.dumps(row, allow_nan=False) + "\n")
            stream.flush()
            # A checkpoint may follow at once, and must not outlive the rows before it.
            os.fsync(stream.fileno())


def duration(seconds: float) -> str:
    """Return seconds as people write them: `45s`, `1m20s`, `3h05m`."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"

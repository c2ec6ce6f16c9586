"""The only training loop. Regimes differ by the objective and the data they hand it."""

import logging
import math
import signal
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import AdamW

from storage.errors import RunError
from training import optim, seeds
from training.checkpoint import Checkpoints, Progress
from training.config import TrainConfig
from training.data import Loader
from training.distributed import Place
from training.objectives import Forward, Objective
from training.telemetry import Telemetry, TrainRow

SKIPS_IN_ROW = 20
SKIPS_AT_LEAST, SKIPPED_SHARE = 20, 0.01
"""Steps without an update that are forgiven: so many in a row, and 20 plus 1 % of all."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """Everything that the loop puts together."""

    config: TrainConfig
    place: Place
    model: nn.Module
    """The model itself, whose weights are saved."""
    objective: Objective
    optimizer: AdamW
    data: Loader
    checkpoints: Checkpoints
    telemetry: Telemetry


class Step(NamedTuple):
    """What came of one step, the same on every process."""

    loss: float
    grad_norm: float
    signal: int
    """The highest signal that any process got, or 0."""
    logs: dict[str, float]

    @property
    def finite(self) -> bool:
        """Say whether weights may be updated by it."""
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


class Interruption(AbstractContextManager["Interruption"]):
    """Notes SIGTERM and Ctrl-C, so that the loop can stop between two steps."""

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interruption":
        # Python sets signal handlers in the main thread only.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
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


def fit(work: Work) -> None:
    """Train from the latest checkpoint, or the start, to the last step.

    Raises:
        RunError: losses or gradients are not finite too often, or a validation loss is not.
        CheckpointError: checkpoints of another configuration are in the way.
        SystemExit: SIGTERM (code 143) or Ctrl-C (130) came; a checkpoint was written first.
    """
    with Interruption() as interruption, work.telemetry:
        progress = _take_up(work)
        work.telemetry.begin(progress.step)
        forward = work.place.wrap(work.model)
        batches = work.data.training(progress.step)
        while progress.step < work.config.loop.steps:
            began = time.perf_counter()
            references = next(batches)
            work.telemetry.stepped(time.perf_counter() - began)
            step = _step(work, forward, references, progress.step, interruption)
            _account(work, progress, step)
            _milestones(work, progress, step)


def _take_up(work: Work) -> Progress:
    """Resume, every process from the checkpoint that the leader finds good."""
    found = work.checkpoints.latest() if work.place.leads else None
    step = work.place.agree(-1 if found is None else found)
    if step < 0:
        return Progress()
    progress = work.checkpoints.resume(step, work.model, work.optimizer)
    if work.place.leads:
        logger.info("resuming after step %d of %d", step, work.config.loop.steps)
    return progress


def _step(
    work: Work, forward: nn.Module, references: Tensor, number: int, interruption: Interruption
) -> Step:
    """Take step `number`, counted from 0, unless its loss or gradient is not finite."""
    config, place = work.config, work.place
    work.model.train()
    seeds.seed_torch(config.loop.seed, "step", number, place.rank)
    optim.set_learning_rate(work.optimizer, optim.learning_rate(config.optim, number))
    loss, logs = _accumulate(work, forward, references)
    parameters = [p for group in work.optimizer.param_groups for p in group["params"]]
    norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
    total, signalled = place.sum(float(loss), interruption.signal)
    step = Step(total, float(norm), int(signalled), logs)
    if step.finite:
        clip_grads_with_norm_(parameters, config.optim.clip_norm, norm)
        work.optimizer.step()
    work.optimizer.zero_grad(set_to_none=True)
    return step


def _accumulate(
    work: Work, forward: nn.Module, references: Tensor
) -> tuple[Tensor, dict[str, float]]:
    """Add up gradients over micro-batches; return this process's part of the batch's mean loss.

    Every example weighs the same however the batch is cut, over micro-batches and processes.
    """
    place = work.place
    pieces = _pieces(work, references)
    total = torch.zeros((), device=place.device)
    logs: dict[str, float] = {}
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        weight = len(piece) / work.data.batch_size
        with nullcontext() if last else place.unsynchronised(forward):
            loss, extra = work.objective(_in_precision(work, forward), piece)
            # Gradients are averaged over processes, and the weights add up to 1 over all.
            (loss * (weight * place.world)).backward()
        total += loss.detach() * weight
        if last:
            logs = {name: float(value) for name, value in extra.items()}
    return total, logs


def _pieces(work: Work, references: Tensor) -> tuple[Tensor, ...]:
    return torch.split(references, work.config.runtime.micro_batch or len(references))


def _in_precision(work: Work, model: nn.Module) -> Forward:
    """Return a model's forward pass in the place's precision."""

    def forward(x_BICT: Tensor) -> Tensor:
        with work.place.autocast():
            y_BSCT: Tensor = model(x_BICT)
        return y_BSCT

    return forward


def _account(work: Work, progress: Progress, step: Step) -> None:
    """Count the step, and stop a run whose losses are not finite too often."""
    progress.step += 1
    if step.finite:
        progress.skipped_in_row = 0
        progress.window.append(step.loss)
        return
    progress.skipped += 1
    progress.skipped_in_row += 1
    if work.place.leads:
        logger.warning(
            "step %d is skipped: loss %g, gradient norm %g",
            progress.step, step.loss, step.grad_norm,
        )  # fmt: skip
    allowed = SKIPS_AT_LEAST + SKIPPED_SHARE * progress.step
    if progress.skipped_in_row >= SKIPS_IN_ROW or progress.skipped > allowed:
        raise RunError(
            f"{progress.skipped} of {progress.step} steps, the last {progress.skipped_in_row} in a "
            "row, had a loss or gradient that is not finite; lower optim.lr, lengthen "
            "optim.warmup_steps or set precision=float32"
        )


def _milestones(work: Work, progress: Progress, step: Step) -> None:
    """Log, validate and save where the step calls for it; leave where a signal does."""
    loop, done = work.config.loop, progress.step
    finished = done == loop.steps
    if (done % loop.log_every == 0 or finished) and progress.window:
        loss = math.fsum(progress.window) / len(progress.window)
        progress.window = []
        rate = optim.learning_rate(work.config.optim, done - 1)
        norm = step.grad_norm if step.finite else -1.0
        work.telemetry.train(TrainRow(done, loss, rate, norm, progress.skipped, step.logs))
    if done % loop.validate_every == 0 or finished:
        _save(work, progress, validate(work, done))
    elif done % loop.checkpoint_every == 0 or step.signal:
        _save(work, progress, None)
    if step.signal and not finished:
        if work.place.leads:
            logger.info("stopped by a signal after step %d; run again to go on from there", done)
        raise SystemExit(128 + step.signal)


def _save(work: Work, progress: Progress, validation_loss: float | None) -> None:
    if work.place.leads:
        work.checkpoints.save(progress, work.model, work.optimizer, validation_loss)
    work.telemetry.pause()


@torch.no_grad()
def validate(work: Work, step: int) -> float:
    """Return, and log, the mean loss over all validation examples of all processes.

    Raises:
        RunError: it is not finite.
    """
    began, total, count = time.perf_counter(), 0.0, 0
    work.model.eval()
    for references in work.data.validation():
        for piece in _pieces(work, references):
            outcome = work.objective(_in_precision(work, work.model), piece)
            total, count = total + float(outcome.loss) * len(piece), count + len(piece)
    total, examples = work.place.sum(total, count)
    loss = total / examples
    if not math.isfinite(loss):
        raise RunError(
            f"the validation loss at step {step} is {loss}; lower optim.lr or set precision=float32"
        )
    work.telemetry.validation(step, loss, int(examples), time.perf_counter() - began)
    return loss

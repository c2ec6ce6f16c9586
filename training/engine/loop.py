"""The only training loop. Regimes differ by the objective and the data they hand it."""

import logging
import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from storage.errors import MachineError, RunError
from training import seeds
from training.checkpoints.checkpoint import Checkpoints, Progress, State
from training.config import TrainConfig
from training.data.batches import Batch, Loader
from training.distributed import ProcessRank, naming_the_lost
from training.engine import guards, memory, optim
from training.engine.guards import Interruption
from training.engine.snapshots import Snapshots
from training.engine.telemetry import Telemetry, TrainRow
from training.objectives.objective import Numbers, Objective

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """Everything that the loop puts together."""

    config: TrainConfig
    process: ProcessRank
    state: State
    objective: Objective
    data: Loader
    checkpoints: Checkpoints
    telemetry: Telemetry
    snapshots: Snapshots

    @property
    def model(self) -> nn.Module:
        """The model itself, whose weights are saved."""
        return self.state.model

    def judged(self) -> AbstractContextManager[None]:
        """Have the model hold the weights that are judged: the moving average, if one is kept."""
        average = self.state.average
        return nullcontext() if average is None else average.standing_in()


class Step(NamedTuple):
    """The outcome of one step, the same on every process but for its logs."""

    loss: float
    grad_norm: float
    signal: int
    """The weightiest signal that any process got, or 0."""
    logs: Numbers
    """Of this process, at steps that are logged."""

    @property
    def finite(self) -> bool:
        """Say whether weights may be updated by it."""
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


def fit(work: Work) -> None:
    """Train from the latest checkpoint, or the start, to the last step.

    Raises:
        RunError: losses or gradients are not finite too often, or a validation loss is not, or
            another process of the job has died.
        MachineError: memory is full; says how many examples fit.
        CheckpointError: checkpoints of another configuration are in the way.
        SystemExit: SIGTERM (code 143) or Ctrl-C (130) came; a checkpoint was written first.
    """
    with Interruption() as interruption, work.telemetry, naming_the_lost(work.process):
        progress = _take_up(work)
        work.telemetry.begin(progress.step, progress.unjudged)
        forward = work.process.wrap(work.model)
        _conclude(work, progress, interruption)
        batches = work.data.training(progress.step)
        while progress.step < work.config.loop.steps:
            began = time.perf_counter()
            batch = next(batches)
            work.telemetry.stepped(time.perf_counter() - began)
            step = _step_within_memory(work, forward, batch, progress, interruption)
            _account(work, progress, step)
            _milestones(work, progress, step, interruption)


def _take_up(work: Work) -> Progress:
    """Resume, every process from the checkpoint that the leader finds good."""
    found = work.checkpoints.latest() if work.process.leads else None
    step = work.process.agree(-1 if found is None else found)
    if step < 0:
        return Progress()
    progress = work.checkpoints.resume(step, work.state)
    if work.process.leads:
        logger.info("resuming after step %d of %d", step, work.config.loop.steps)
    return progress


def _step_within_memory(
    work: Work,
    forward: nn.Module,
    batch: Batch,
    progress: Progress,
    interruption: Interruption,
) -> Step:
    """Take a step; where memory is full, find out how many examples would have fitted."""
    try:
        return _step(work, forward, batch, progress, interruption)
    except (MemoryError, RuntimeError) as error:
        if not guards.is_exhaustion(error):
            raise
        reason = " ".join(str(error).split())[:200]
    # Only here, with the error gone, are the failed step's tensors free.
    piece = _pieces(work, batch)[0]
    beside = [] if work.state.optimizer.state else memory.moments(work.model)
    advice = memory.advice(work.model, work.objective, work.process, piece)
    del beside
    raise MachineError(f"{advice} ({reason})")


def _step(
    work: Work,
    forward: nn.Module,
    batch: Batch,
    progress: Progress,
    interruption: Interruption,
) -> Step:
    """Take the step after `progress`, unless its loss or gradient is not finite."""
    config, process, number = work.config, work.process, progress.step
    optimizer = work.state.optimizer
    work.model.train()
    seeds.seed_torch(config.loop.seed, "step", number, process.rank)
    optim.set_learning_rate(optimizer, _rate(work, progress, number))
    loss, logs = _accumulate(work, forward, batch, _is_logged(work, number + 1))
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
    total, *votes = process.sum(float(loss), *interruption.votes())
    step = Step(total, float(norm), guards.elected(votes), logs)
    if step.finite:
        clip_grads_with_norm_(parameters, config.optim.clip_norm, norm)
        optimizer.step()
        if work.state.average is not None:
            work.state.average.update(progress.updates + 1)
    optimizer.zero_grad(set_to_none=True)
    return step


def _accumulate(
    work: Work, forward: nn.Module, batch: Batch, logged: bool
) -> tuple[Tensor, Numbers]:
    """Add up gradients over micro-batches; return this process's part of the batch's mean loss.

    Every example weighs the same however the batch is cut, over micro-batches and processes.
    """
    process, statistics = work.process, work.objective.statistics() if logged else None
    pieces = _pieces(work, batch)
    total = torch.zeros((), device=process.device)
    logs: dict[str, Tensor] = {}
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        weight = piece.size / work.data.batch_size
        with nullcontext() if last else process.unsynchronised(forward):
            outcome = work.objective(process.in_precision(forward), piece)
            # Gradients are averaged over processes, and the weights add up to 1 over all.
            (outcome.loss * (weight * process.world)).backward()
        total += outcome.loss.detach() * weight
        share = piece.size / batch.size
        logs = {name: logs.get(name, 0.0) + share * value for name, value in outcome.logs.items()}
        if statistics is not None and last:
            statistics.add(outcome)
    numbers: Numbers = {name: float(value) for name, value in logs.items()} if logged else {}
    return total, numbers if statistics is None else numbers | statistics.numbers(statistics.sums())


def _pieces(work: Work, batch: Batch) -> list[Batch]:
    return batch.split(work.config.runtime.micro_batch)


def _rate(work: Work, progress: Progress, step: int) -> float:
    """Return the learning rate of a step."""
    config = work.config
    losses = progress.validation_losses
    return config.schedule.rate(config.optim.lr, step, config.loop.steps, losses)


def _account(work: Work, progress: Progress, step: Step) -> None:
    """Count the step; say which samples a skipped one was made of, and stop when there are many."""
    number = progress.step
    if guards.account(progress, step.loss, step.grad_norm):
        return
    if work.process.leads:
        logger.warning(
            "step %d is skipped: loss %g, gradient norm %g",
            progress.step, step.loss, step.grad_norm,
        )  # fmt: skip
        keys = work.data.keys(number)
        work.telemetry.skipped(progress.step, step.loss, step.grad_norm, keys)
    guards.require_budget(progress)


def _milestones(work: Work, progress: Progress, step: Step, interruption: Interruption) -> None:
    """Log, save and validate where the step calls for it; leave where a signal does."""
    loop, done = work.config.loop, progress.step
    if _is_logged(work, done) and progress.window:
        _log(work, progress, step)
    progress.unjudged = done % loop.validate_every == 0 or done == loop.steps
    if progress.unjudged or done % loop.checkpoint_every == 0 or step.signal:
        if work.process.leads:
            work.checkpoints.save(progress, work.state)
        work.telemetry.pause()
    if step.signal:
        _leave(work, progress, step.signal)
    _conclude(work, progress, interruption)


def _conclude(work: Work, progress: Progress, interruption: Interruption) -> None:
    """Do what is due after a step; what is interrupted comes first when the run resumes."""
    if progress.unjudged:
        loss = validate(work, progress, interruption)
        progress.unjudged = False
        progress.validation_losses.append(loss)
        if work.process.leads:
            work.checkpoints.judge(progress, loss)
        work.telemetry.pause()
    if work.process.leads and work.snapshots.due(progress.step):
        _snapshot(work, progress.step)


def _leave(work: Work, progress: Progress, number: int) -> NoReturn:
    if work.process.leads:
        logger.info(
            "stopped by a signal after step %d; run again to go on from there", progress.step
        )
    raise SystemExit(128 + number)


def _is_logged(work: Work, done: int) -> bool:
    return done % work.config.loop.log_every == 0 or done == work.config.loop.steps


def _log(work: Work, progress: Progress, step: Step) -> None:
    loss = math.fsum(progress.window) / len(progress.window)
    progress.window = []
    rate = _rate(work, progress, progress.step - 1)
    norm, logs = (step.grad_norm, step.logs) if step.finite else (-1.0, {})
    if peak := work.process.peak_memory():
        logs = {**logs, "gpu_memory_gb": peak / 1e9}
    work.telemetry.train(TrainRow(progress.step, loss, rate, norm, progress.skipped, logs))


@torch.no_grad()
def _snapshot(work: Work, step: int) -> None:
    work.model.eval()
    with work.judged():
        snapshot = work.snapshots.take(step, work.process.in_precision(work.model), work.objective)
    work.telemetry.snapshot(step, snapshot)
    work.telemetry.pause()


@torch.no_grad()
def validate(work: Work, progress: Progress, interruption: Interruption) -> float:
    """Return, and log, the mean loss over all validation examples of all processes.

    Raises:
        RunError: it is not finite.
        SystemExit: a signal came. A validation may take longer than a stop allows.
    """
    began, total, count = time.perf_counter(), 0.0, 0
    statistics = work.objective.statistics()
    work.model.eval()
    with work.judged():
        for batch in work.data.validation():
            if number := interruption.signal:
                _leave(work, progress, number)
            for piece in _pieces(work, batch):
                outcome = work.objective(work.process.in_precision(work.model), piece)
                total, count = total + float(outcome.loss) * piece.size, count + piece.size
                if statistics is not None:
                    statistics.add(outcome)
    sums = [] if statistics is None else statistics.sums()
    total, examples, *sums = work.process.sum(total, count, *sums)
    loss = total / examples
    if not math.isfinite(loss):
        raise RunError(
            f"the validation loss at step {progress.step} is {loss}; lower optim.lr or set "
            "precision=float32"
        )
    logs = {} if statistics is None else statistics.numbers(sums)
    seconds = time.perf_counter() - began
    work.telemetry.validation(
        progress.step, {"loss": loss, "examples": int(examples), **logs}, seconds
    )
    return loss

"""Checkpoints: written whole or not at all, checked before use, and averaged into the result.

::

    checkpoints/step-00000100/model.safetensors
                              optimizer.safetensors   moments by parameter name
                              ema.safetensors         moving average of the weights, if one is kept
                              checkpoint.json         step, identity, loss, progress, sha256 of each
"""

import logging
import os
import shutil
from collections.abc import Set
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Adam

from storage.config import Json, differences
from storage.errors import CheckpointError, ManifestError
from storage.files import disk_errors, hash_file, read_json, write_json
from training.checkpoints.ema import MovingAverage
from training.checkpoints.weights import average, fit_into, read_weights, write_weights
from training.model_folder import WEIGHTS

MOMENTS = "optimizer.safetensors"
AVERAGE = "ema.safetensors"
NOTE = "checkpoint.json"
KEPT_LATEST = 2
"""To resume from: the last one, and the one before should the last be damaged."""

logger = logging.getLogger(__name__)


@dataclass
class Progress:
    """What a run knows of itself beside its weights; as plain values in every checkpoint."""

    step: int = 0
    """Steps done."""
    window: list[float] = field(default_factory=list)
    """Losses of the steps since the last logged one."""
    skipped: int = 0
    """Steps without an update because a loss or gradient was not finite."""
    skipped_in_row: int = 0
    unjudged: bool = False
    """A validation is due at this step, and has not ended yet."""
    validation_losses: list[float] = field(default_factory=list)
    """Of all validations so far, oldest first."""

    @property
    def updates(self) -> int:
        """Steps that changed the weights."""
        return self.step - self.skipped


@dataclass(frozen=True)
class State:
    """What training changes, beside its progress."""

    model: nn.Module
    optimizer: Adam
    average: MovingAverage | None = None


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: where they lie.
        identity: config and input digests; a checkpoint of another identity is refused.
        keep_best: how many are kept by validation loss.
    """

    def __init__(self, folder: Path, identity: Json, keep_best: int) -> None:
        self._folder, self._identity, self._keep_best = folder, identity, keep_best

    def save(
        self,
        progress: Progress,
        state: State,
        validation_loss: float | None = None,
    ) -> None:
        """Write a checkpoint durably and at once, then remove those no longer needed."""
        target = self._path(progress.step)
        arriving = target.with_name(f".{target.name}.arriving")
        # Of whatever step: one that met a full disk, or its end, holds room for nothing.
        for remains in self._folder.glob(".step-*.arriving"):
            shutil.rmtree(remains, ignore_errors=True)
        parts = {
            WEIGHTS: state.model.state_dict(),
            MOMENTS: _moments(state.model, state.optimizer),
        }
        if state.average is not None:
            parts[AVERAGE] = state.average.state()
        sha256 = {name: write_weights(arriving / name, part) for name, part in parts.items()}
        note = {
            "step": progress.step,
            "identity": self._identity,
            "validation_loss": validation_loss,
            "progress": asdict(progress),
            "sha256": sha256,
        }
        write_json(arriving / NOTE, note)
        with disk_errors(target):
            # Only a damaged checkpoint is ever in the way: a good one would have been resumed.
            shutil.rmtree(target, ignore_errors=True)
            arriving.rename(target)
            _sync_folder(self._folder)
        self._prune()

    def judge(self, progress: Progress, validation_loss: float) -> None:
        """Add what a validation found to the checkpoint of its step."""
        note = {
            **self._note(progress.step),
            "validation_loss": validation_loss,
            "progress": asdict(progress),
        }
        write_json(self._path(progress.step) / NOTE, note)
        self._prune()

    def latest(self) -> int | None:
        """Return the step of the latest undamaged checkpoint, warning of damaged ones.

        Raises:
            CheckpointError: it was made by another configuration, or from other inputs.
        """
        for step in reversed(self.steps()):
            try:
                note = self._check(step)
            except CheckpointError as error:
                logger.warning("checkpoint at step %d is passed over: %s", step, error)
                continue
            if note["identity"] != self._identity:
                changes = "; ".join(differences(note["identity"], self._identity))
                raise CheckpointError(
                    f"checkpoint {self._path(step)} is of another configuration or of other data "
                    f"({changes}); delete {self._folder} to start again from step 0, or use "
                    "another run"
                )
            return step
        return None

    def resume(self, step: int, state: State) -> Progress:
        """Put model, optimiser and average where they were at a step; return the progress then.

        Raises:
            CheckpointError: the checkpoint is damaged or does not fit the model.
        """
        folder, note = self._path(step), self._note(step)
        fit_into(state.model, read_weights(folder / WEIGHTS), folder / WEIGHTS)
        moments = read_weights(folder / MOMENTS)
        _restore(state.model, state.optimizer, moments, folder / MOMENTS)
        if state.average is not None:
            state.average.restore(read_weights(folder / AVERAGE), folder / AVERAGE)
        return Progress(**note["progress"])

    def best(self) -> list[int]:
        """Return the steps of the best checkpoints by validation loss, best first.

        Where none was validated, the latest.
        """
        losses = {step: self._validation_loss(step) for step in self.steps()}
        ranked = sorted((loss, step) for step, loss in losses.items() if loss is not None)
        return [step for _, step in ranked[: self._keep_best]] or self.steps()[-1:]

    def result(self, parameters: Set[str]) -> tuple[dict[str, Tensor], Json]:
        """Return the mean of the best checkpoints' weights, and which they are.

        Where a moving average was kept, its weights are taken: they are what was validated.

        Args:
            parameters: names of those tensors that are averaged; the others, a model's buffers,
                are the best checkpoint's.

        Raises:
            CheckpointError: one of them is damaged, or there is none.
        """
        best = self.best()
        if not best:
            raise CheckpointError(f"{self._folder} holds no checkpoint; train first")
        notes = [self._check(step) for step in best]
        weights = average(
            [self._validated(step, note) for step, note in zip(best, notes, strict=True)],
            parameters,
        )
        losses = [note["validation_loss"] for note in notes]
        return weights, {"averaged_steps": best, "validation_losses": losses}

    def steps(self) -> list[int]:
        """Return the steps of all checkpoints, damaged or not, in order."""
        return sorted(int(path.name.removeprefix("step-")) for path in self._folder.glob("step-*"))

    def _path(self, step: int) -> Path:
        return self._folder / f"step-{step:08d}"

    def _note(self, step: int) -> dict[str, Any]:
        try:
            note = read_json(self._path(step) / NOTE)
        except ManifestError as error:
            raise CheckpointError(str(error)) from error
        if not isinstance(note, dict) or not note.keys() >= {"identity", "progress", "sha256"}:
            raise CheckpointError(f"{self._path(step) / NOTE} is no checkpoint's note; delete it")
        return note

    def _check(self, step: int) -> dict[str, Any]:
        note = self._note(step)
        for name in sorted({WEIGHTS, MOMENTS, *note["sha256"]}):
            path = self._path(step) / name
            if not path.is_file() or hash_file(path) != note["sha256"].get(name):
                raise CheckpointError(f"{path} is missing or damaged; delete {path.parent}")
        return note

    def _validated(self, step: int, note: Json) -> dict[str, Tensor]:
        weights = read_weights(self._path(step) / WEIGHTS)
        if AVERAGE in note["sha256"]:
            weights |= read_weights(self._path(step) / AVERAGE)
        return weights

    def _validation_loss(self, step: int) -> float | None:
        try:
            loss = self._note(step).get("validation_loss")
        except CheckpointError:
            return None
        return None if loss is None else float(loss)

    def _prune(self) -> None:
        wanted = {*self.best(), *self.steps()[-KEPT_LATEST:]}
        for step in self.steps():
            if step not in wanted:
                shutil.rmtree(self._path(step), ignore_errors=True)


def _moments(model: nn.Module, optimizer: Adam) -> dict[str, Tensor]:
    """Return the optimiser's tensors by the name of their parameter."""
    return {
        f"{name}/{key}": tensor
        for name, parameter in model.named_parameters()
        for key, tensor in optimizer.state.get(parameter, {}).items()
    }


def _restore(model: nn.Module, optimizer: Adam, moments: dict[str, Tensor], source: Path) -> None:
    trained = optimizer.param_groups[0]["params"]
    position = {id(parameter): number for number, parameter in enumerate(trained)}
    numbers = {name: position.get(id(value)) for name, value in model.named_parameters()}
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in moments.items():
        name, _, kind = key.rpartition("/")
        number = numbers.get(name)
        if number is None:
            raise CheckpointError(
                f"{source} has moments of '{name}', which this run does not train; delete the "
                "checkpoints to start again from step 0"
            )
        state.setdefault(number, {})[kind] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

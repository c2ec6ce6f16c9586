"""Stored weights: safetensors beside JSON that explains them. Nothing is ever unpickled.

What a model's folder holds beside its weights is read by `training.model_folder`.
"""

import re
from collections.abc import Mapping, Set
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from storage.config import Json
from storage.errors import CheckpointError
from storage.files import arriving, hash_file, write_json
from training.model_folder import EXPLANATION, WEIGHTS, read_explanation, settings_of
from training.models.separator import Separator, build

Weights = Mapping[str, Tensor]


def write_weights(path: Path, weights: Weights) -> str:
    """Write tensors durably and at once; return the file's sha256. Same tensors, same bytes."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    with arriving(path) as temporary:
        try:
            save_file(plain, temporary)
        except SafetensorError as error:
            # A full disk is reported in words only, not by an error number.
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), str(error)) from error
    return hash_file(path)


def read_weights(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """Read tensors to the CPU.

    Raises:
        CheckpointError: the file is missing, is no safetensors file, or is not the one that was
            written (`sha256`); the message names it.
    """
    remedy = "delete its folder and run again, or take it from a backup"
    if not path.is_file():
        raise CheckpointError(f"weights {path} are missing; {remedy}")
    if sha256 is not None and hash_file(path) != sha256:
        raise CheckpointError(f"weights {path} are damaged: their sha256 has changed; {remedy}")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"weights {path} cannot be read ({error}); {remedy}") from error


def fit_into(model: nn.Module, weights: Weights, source: Path) -> None:
    """Copy weights into a model that must have exactly these tensors, of finite numbers.

    Raises:
        CheckpointError: a tensor is missing, unknown, of another shape, or holds NaN; the message
            names it and `source`.
    """
    own = model.state_dict()
    problems = [
        *(f"'{name}' is missing" for name in own.keys() - weights.keys()),
        *(f"'{name}' is not in the model" for name in weights.keys() - own.keys()),
        *(
            f"'{name}' is {list(weights[name].shape)} and not {list(own[name].shape)}"
            for name in own.keys() & weights.keys()
            if own[name].shape != weights[name].shape
        ),
    ]
    if problems:
        first, more = min(problems), len(problems) - 1
        raise CheckpointError(
            f"weights {source} do not fit the model: {first}{f' and {more} more' if more else ''}; "
            "use the recipe that they were trained with"
        )
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise CheckpointError(
                f"weights {source} hold NaN or infinity in '{name}'; the training that made them "
                "diverged: lower optim.lr and train again"
            )
    model.load_state_dict(dict(weights))


def save_model(folder: Path, weights: Weights, explanation: Json) -> None:
    """Write a model's folder; the JSON comes last and names the weights' sha256."""
    sha256 = write_weights(folder / WEIGHTS, weights)
    write_json(folder / EXPLANATION, {**explanation, "sha256": sha256})


def load_model(folder: Path) -> Separator:
    """Return the model in a folder, on the CPU and in evaluation mode.

    Raises:
        CheckpointError: the folder holds no readable model; the message names the file, what is
            wrong with it and what to do.
    """
    explanation = read_explanation(folder)
    model = build(settings_of(folder))
    weights = folder / WEIGHTS
    fit_into(model, read_weights(weights, explanation.get("sha256")), weights)
    model.chunk_seconds = explanation.get("chunk_seconds") or model.chunk_seconds
    model.hop_seconds = explanation.get("hop_seconds") or model.chunk_seconds / 2
    return model.eval()


def average(all_weights: list[dict[str, Tensor]], parameters: Set[str]) -> dict[str, Tensor]:
    """Return the mean of each parameter over several models, in float64.

    Buffers, whatever is not named in `parameters`, are the first model's: means of statistics or
    of constants belong to no model.
    """
    return {
        name: (
            torch.stack([weights[name].double() for weights in all_weights]).mean(0).to(first.dtype)
            if name in parameters and first.is_floating_point()
            else first
        )
        for name, first in all_weights[0].items()
    }

"""Others' checkpoint files: read as plain tensors, whatever framework wrote them.

What is in them, each model's own module knows (`FOREIGN` in `table.py`).
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from storage.errors import CheckpointError
from training.models.settings import ModelSettings


class Imported(NamedTuple):
    """A model read from a foreign checkpoint."""

    config: ModelSettings
    weights: dict[str, Tensor]
    """By the names of our model."""
    stems: tuple[str, ...] = ()
    """Names of its outputs, where the checkpoint's settings give them."""
    chunk_seconds: float | None = None
    """Length of the chunks that it was made for, where they give it."""
    hop_seconds: float | None = None
    """From the start of one chunk to the next, where they give it."""


def read_plain(path: Path) -> object:
    """Return what a `.safetensors` or a PyTorch file holds; nothing but tensors is ever unpickled.

    Raises:
        CheckpointError: it is missing, unreadable, or holds more than plain values and tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        # torch's own sentence recommends to load whatever code the file holds.
        raise CheckpointError(
            f"checkpoint {path} cannot be read as plain tensors ({type(error).__name__}); give a "
            ".safetensors file, or a PyTorch file that holds a state dict and nothing else"
        ) from error


def after_prefix(weights: Mapping[str, Tensor], first: str) -> dict[str, Tensor] | None:
    """Return the tensors by their names in the model itself; None if it is not in here.

    Args:
        weights: by the names that a training framework gave, all behind one prefix.
        first: a name that every checkpoint of the model has.
    """
    prefix = next((name.removesuffix(first) for name in weights if name.endswith(first)), None)
    if prefix is None:
        return None
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in weights.items()
        if name.startswith(prefix)
    }

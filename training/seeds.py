"""Randomness without state: every draw is a pure function of a seed and labels that name its use.

Nothing random is ever saved. A step, an example or a fold names itself, and so a run that resumes
in the middle, or on another number of processes, sees what it would have seen.
"""

import hashlib

import numpy as np
import torch

Label = str | int


def derive(seed: int, *labels: Label) -> int:
    """Return a 63-bit seed for the use that `labels` name, such as ("step", 120, 0)."""
    text = "\x1f".join([str(seed), *(f"{type(label).__name__}:{label}" for label in labels)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *labels: Label) -> np.random.Generator:
    """Return a NumPy generator for the use that `labels` name."""
    return np.random.Generator(np.random.PCG64(derive(seed, *labels)))


def seed_torch(seed: int, *labels: Label) -> None:
    """Set torch's global generators, which initial weights and dropout draw from."""
    torch.manual_seed(derive(seed, *labels))

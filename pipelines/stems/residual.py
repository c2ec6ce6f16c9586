"""How far a song's official mixture is from the sum of its stems.

MUSDB18-HQ's test song `PR - Oh No` is known to differ by two fifths: its scores tell less than
others'.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile

from pipelines.stems.musdb import STEMS
from pipelines.stems.wave_files import BLOCK
from pipelines.workers.fan_out import fan_out
from storage.errors import DecodeError

NOTICEABLE = 0.05
"""A residual above this is worth a line: rounding makes less than a hundredth of it."""


def residuals(folders: Mapping[str, Path], workers: int = 0) -> dict[str, float]:
    """Return the residual of each song, given the songs' folders by name, that is noticeable.

    Raises:
        DecodeError: a recording cannot be read.
    """
    found = fan_out(residual, list(folders.values()), workers)
    named = zip(folders, found, strict=True)
    return {name: round(value, 3) for name, value in named if value > NOTICEABLE}


def residual(folder: Path) -> float:
    """Return the RMS of mixture less stems, as a share of the mixture's; 0 for digital silence.

    Raises:
        DecodeError: a recording cannot be read.
    """
    error, whole = 0.0, 0.0
    try:
        streams = [
            soundfile.blocks(str(folder / f"{part}.wav"), BLOCK, dtype="float32", always_2d=True)
            for part in ("mixture", *STEMS)
        ]
        for mixture, *stems in zip(*streams, strict=True):
            error += float(np.square(mixture - sum(stems), dtype=np.float64).sum())
            whole += float(np.square(mixture, dtype=np.float64).sum())
    except (soundfile.LibsndfileError, OSError) as fault:
        raise DecodeError(f"a recording in {folder} cannot be read ({fault})") from fault
    return math.sqrt(error / whole) if whole else 0.0

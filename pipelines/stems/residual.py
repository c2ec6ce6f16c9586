"""How far a song's official mixture is from the sum of its stems.

MUSDB18-HQ's test song `PR - Oh No` is known to differ by two fifths: its scores are less
reliable than others'.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from pipelines.stems.wave_files import BLOCK
from pipelines.workers.fan_out import fan_out
from storage.audio.residual import NOTICEABLE_RESIDUAL, residual_share
from storage.errors import DecodeError
from storage.home.layout import Home
from storage.names.spelling import library_path, printable
from storage.records import StemSong


def residuals(home: Home, songs: Sequence[StemSong], workers: int = 0) -> dict[str, float]:
    """Return the noticeable residuals of songs, by the songs' names.

    Raises:
        DecodeError: a recording cannot be read.
    """
    found = fan_out(residual, [(home.path(song.folder), song.parts) for song in songs], workers)
    named = zip(songs, found, strict=True)
    return {song.name: round(value, 3) for song, value in named if value > NOTICEABLE_RESIDUAL}


def residual(song: tuple[Path, tuple[str, ...]]) -> float:
    """Return the residual of a song, given its folder and the names of its mixture and stems.

    Raises:
        DecodeError: a recording cannot be read.
    """
    folder, parts = song
    error, whole = 0.0, 0.0
    try:
        streams = [
            soundfile.blocks(
                library_path(folder / f"{part}.wav"), BLOCK, dtype="float32", always_2d=True
            )
            for part in parts
        ]
        for mixture, *stems in zip(*streams, strict=True):
            error += float(np.square(mixture - sum(stems), dtype=np.float64).sum())
            whole += float(np.square(mixture, dtype=np.float64).sum())
    except (soundfile.LibsndfileError, OSError) as fault:
        raise DecodeError(f"a recording in {printable(folder)} cannot be read ({fault})") from fault
    return residual_share(error, whole)

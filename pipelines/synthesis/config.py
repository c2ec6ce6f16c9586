"""The knobs of the demo corpora."""

from typing import ClassVar

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from storage.config import Config


class SynthesisConfig(Config):
    """Demo corpora: music synthesised through a SoundFont, written in the archives' formats."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"workers"})

    tracks: PositiveInt = 24
    """Songs of the FMA archive."""
    track_seconds: PositiveFloat = 40.0
    """Mean length of an FMA song; lengths vary by a quarter around it."""
    train_songs: PositiveInt = 12
    """Songs of MUSDB's `train` folder, some under official validation names."""
    validation_songs: PositiveInt = 2
    """Of the train songs, how many carry official validation names."""
    test_songs: PositiveInt = 3
    """Songs of MUSDB's `test` folder."""
    song_seconds: PositiveFloat = 24.0
    """Mean length of a MUSDB song."""
    damaged: bool = True
    """Add the archive's usual accidents: an empty, a truncated, a short, a 22.05 kHz, a 48 kHz,
    a mono and a silent-gap track."""
    seed: NonNegativeInt = 0
    """Decides what is composed: another seed gives other songs of the same kind."""
    workers: NonNegativeInt = 0
    """Processes that render; 0 takes one per core."""

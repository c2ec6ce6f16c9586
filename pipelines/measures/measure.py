"""What a measure is: it takes a track second by second, and has figures of each and of the whole.

A measure keeps a few numbers between seconds, and never sound: memory does not grow with a track.
"""

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Value = float | None
"""A figure; None where it is undefined, as is the correlation of silence."""


class Figure(NamedTuple):
    """A number that a measure gives of a whole track."""

    name: str
    """Its name in ledgers and tables; the unit is its last word, or it is a plain number."""
    words: str
    """What it is, in a few words, as the heading of a picture."""
    edges: tuple[float, ...]
    """Where the ranges of its histogram meet, in ascending order; the outer ones are open."""
    whole: bool = False
    """Whether it is a count."""


class Second:
    """One second of a track, or the shorter rest at its end."""

    def __init__(self, frames: npt.NDArray[np.float32]) -> None:
        self.frames = frames
        """float32 [frames, 2], contiguous, full scale at ±1; overwritten by the next second."""

    @cached_property
    def sizes(self) -> npt.NDArray[np.float32]:
        """Magnitudes, [frames, 2]."""
        return np.abs(self.frames)


class Measure(Protocol):
    """Measures one track."""

    def take(self, second: Second) -> Value:
        """Measure the next second, and return its figure."""
        ...

    def whole(self) -> dict[str, Value]:
        """Return the track's figures by name, once the last second was taken."""
        ...


class Kind(NamedTuple):
    """One entry of the table: how a measure is called, described and begun."""

    by_second: str
    """Name of the list of its seconds' figures."""
    figures: tuple[Figure, ...]
    begin: Callable[[int], Measure]
    """Takes the sample rate in Hz."""

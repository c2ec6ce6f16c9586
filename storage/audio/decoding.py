"""What is known of a recording before it is decoded, what became of it, what takes its sound."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeVar

import numpy as np

from storage.audio.waveforms import Waveform
from storage.errors import DecodeError

Certainty = Literal["exact", "estimated", "unknown"]


class Length(NamedTuple):
    """How many frames a file says it has, and how far that can be trusted."""

    frames: int = 0
    """0 where the file does not say."""
    certainty: Certainty = "unknown"
    """`exact`: a count of the container, which no other count in it contradicts; only this can be
    broken. `estimated`: from a bit rate, or contradicted. `unknown`: a stream, whose writer could
    not go back to write the length."""


class Hole(NamedTuple):
    """A place where sound was lost and silence was put, so that what follows stays in time."""

    start: int
    """Frame."""
    frames: int


class Form(NamedTuple):
    """What is known of a recording before it is decoded: of most of it, if it changes."""

    sample_rate: int
    channels: int
    decoder: str
    """Name and version, as in `soundfile 0.14.0/libsndfile 1.2.2`."""


class Decoding(NamedTuple):
    """What became of a recording when it was decoded."""

    sample_rate: int
    channels: int
    decoder: str
    promised: Length
    frames: int
    """Frames that were handed on, holes included."""
    decode_errors: int = 0
    """Packets that did not decode."""
    holes: tuple[Hole, ...] = ()
    frames_missing: int = 0
    """Frames that an exact promise, or an incomplete last packet, says are missing at the end."""
    stray_bytes: int = 0
    """Bytes that lie in no packet and in no tag."""

    @property
    def frames_filled(self) -> int:
        """Frames of silence in the place of lost sound."""
        return sum(hole.frames for hole in self.holes)

    @property
    def frames_lost(self) -> int:
        """Frames that the recording had and the decoding does not."""
        return self.frames_filled + self.frames_missing

    @property
    def seconds(self) -> float:
        """Decoded length."""
        return self.frames / self.sample_rate


class Sink(Protocol):
    """What takes a recording block by block."""

    def take(self, block: Waveform) -> None:
        """Take the next frames, float32 [channels, frames]; the block may be reused afterwards."""
        ...


Taker = TypeVar("Taker", bound=Sink)
Begin = Callable[[Form], Taker | None]


class Source(NamedTuple):
    """A recording to be decoded."""

    path: Path
    name: str
    """What messages call it."""
    limit_seconds: float

    def require_short(self, frames: int, sample_rate: int) -> None:
        """Raise `DecodeError` (`too_long`) beyond the limit."""
        if frames > self.limit_seconds * sample_rate:
            raise DecodeError(
                f"{self.name} lasts {frames / sample_rate:.0f} s or more, but "
                f"{self.limit_seconds:.0f} s is the limit; raise it if the song is worth it",
                "too_long",
            )

    def require_numbers(self, block: Waveform) -> None:
        """Raise `DecodeError` (`nan`) unless every sample is a finite number."""
        # The sum is finite unless a sample is not, or overflows: then each is looked at.
        with np.errstate(over="ignore", invalid="ignore"):
            finite = math.isfinite(block.sum())
        if not finite and not np.isfinite(block).all():
            raise DecodeError(f"{self.name} decodes to samples that are no numbers", "nan")

"""What a composed song is: notes, the parts that play them, the stems they belong to."""

from dataclasses import dataclass, field
from typing import Literal

from numpy import float32, int16
from numpy.typing import NDArray

SAMPLE_RATE = 44_100
"""Hz. Everything is composed and rendered at this rate."""

Stem = Literal["drums", "bass", "other", "vocals"]
STEMS: tuple[Stem, ...] = ("drums", "bass", "other", "vocals")

Sound = NDArray[float32]
"""Stereo sound, `(frames, 2)`, full scale 1."""

Pcm = NDArray[int16]
"""Stereo sound, `(frames, 2)`, 16-bit."""


@dataclass(frozen=True)
class Note:
    """One note: start and length in seconds, MIDI pitch 0-127, velocity 1-127."""

    start: float
    seconds: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Part:
    """What one instrument plays: a SoundFont program, where it stands and how loud."""

    stem: Stem
    program: int
    notes: tuple[Note, ...]
    pan: float = 0.5
    """0 is left, 1 is right."""
    volume: float = 1.0
    drums: bool = False
    vibrato: float = 0.0
    """Semitones either side of the pitch."""


@dataclass(frozen=True)
class Singer:
    """One synthesised voice: its vocal tract, its habits, its position in the stereo field."""

    tract: float
    """Formant frequencies, as a multiple of an adult male's."""
    breath: float
    """Share of noise in the source."""
    tilt: float
    """How fast the source's harmonics fall, dB per octave."""
    vibrato: float
    """Semitones either side of the pitch."""
    vibrato_hertz: float
    glide: float
    """Seconds a pitch takes to settle, from below."""
    doubled: bool
    """A second take, a few cents off, widens the voice."""


@dataclass(frozen=True)
class Song:
    """A whole composition, `seconds` long, ready to be played."""

    genre: str
    seconds: float
    tempo: float
    parts: tuple[Part, ...]
    singer: Singer | None = None
    sung: tuple[Note, ...] = field(default=())
    """What the singer sings; parts with stem `vocals` are a choir of the SoundFont."""

    @property
    def frames(self) -> int:
        """Length in frames at `SAMPLE_RATE`."""
        return round(self.seconds * SAMPLE_RATE)

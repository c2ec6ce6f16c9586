"""The frame that all players share: form, key, chords and the clock from bars to seconds."""

import math
from dataclasses import dataclass
from typing import Literal

from numpy.random import Generator

from pipelines.synthesis.styles import Style

Role = Literal["drums", "bass", "chords", "pad", "lead", "voice"]
Kind = Literal["intro", "verse", "chorus", "break", "outro"]

STEPS_PER_BEAT = 4
MAXIMUM_TAIL = 1.6
"""Seconds that the last chord may ring."""

FORMS: tuple[str, ...] = ("IVCVCBCO", "IVVCBVCO", "VCVCBCO", "IVBVCCO", "ICVCBVCO")
LETTERS: dict[str, Kind] = {
    "I": "intro", "V": "verse", "C": "chorus", "B": "break", "O": "outro"
}  # fmt: skip

# How likely each player is to play in each kind of section. Verses and choruses bring everyone
# that a stem needs; elsewhere players rest, so that stems have silences as real ones do.
PRESENCE: dict[Kind, dict[Role, float]] = {
    "intro": {"drums": 0.5, "bass": 0.4, "chords": 0.8, "pad": 0.3, "lead": 0.7, "voice": 0.0},
    "verse": {"drums": 0.9, "bass": 1.0, "chords": 0.9, "pad": 0.2, "lead": 0.2, "voice": 1.0},
    "chorus": {"drums": 1.0, "bass": 1.0, "chords": 1.0, "pad": 0.8, "lead": 0.5, "voice": 1.0},
    "break": {"drums": 0.5, "bass": 0.5, "chords": 0.5, "pad": 0.4, "lead": 0.9, "voice": 0.1},
    "outro": {"drums": 0.6, "bass": 0.7, "chords": 1.0, "pad": 0.5, "lead": 0.5, "voice": 0.3},
}


@dataclass(frozen=True)
class Section:
    """Bars `first` to `first + bars - 1`, and who plays in them."""

    kind: Kind
    first: int
    bars: int
    roles: frozenset[Role]


@dataclass(frozen=True)
class Frame:
    """One song's form, key, harmony and time."""

    style: Style
    sections: tuple[Section, ...]
    key: int
    """Pitch class of the tonic, 0 is C."""
    scale: tuple[int, ...]
    progressions: dict[Kind, tuple[int, ...]]
    bar_seconds: float
    seconds: float

    @property
    def bars(self) -> int:
        """Bars before the last chord."""
        return self.sections[-1].first + self.sections[-1].bars

    @property
    def steps(self) -> int:
        """Sixteenths in a bar."""
        return self.style.beats * STEPS_PER_BEAT

    @property
    def tail(self) -> float:
        """Seconds from the last chord to the end."""
        return self.seconds - self.bars * self.bar_seconds

    def at(self, bar: int, step: float) -> float:
        """Return when a sixteenth of a bar sounds, in seconds, swing included."""
        span = self.style.swing_beats * STEPS_PER_BEAT
        whole, part = divmod(step, span)
        middle = 0.5 + self.style.swing / 2
        phase = part / span
        warped = 2 * phase * middle if phase < 0.5 else 1 - 2 * (1 - phase) * (1 - middle)
        return self.bar_seconds * (bar + (whole + warped) * span / self.steps)

    def degree(self, section: Section, bar: int) -> int:
        """Return the scale degree of the chord of a bar of the song."""
        progression = self.progressions[section.kind]
        return progression[(bar - section.first) % len(progression)]

    def pitch(self, degree: int) -> int:
        """Return the pitch of a scale degree that may run beyond the octave, tonic near 0."""
        octave, step = divmod(degree, len(self.scale))
        return self.key + 12 * octave + self.scale[step]

    def chord(self, degree: int) -> tuple[int, ...]:
        """Return the chord on a degree as pitches from the tonic near 0, root first."""
        if self.style.power:
            root = self.pitch(degree)
            return root, root + 7, root + 12
        thirds = (0, 2, 4, 6) if self.style.sevenths else (0, 2, 4)
        return tuple(self.pitch(degree + third) for third in thirds)


def draw_frame(style: Style, seconds: float, rng: Generator) -> Frame:
    """Draw a form, key, tempo and progressions that fill `seconds` exactly."""
    tempo = rng.uniform(*style.tempo)
    tail = min(MAXIMUM_TAIL, seconds / 6)
    wished = 60 / tempo * style.beats
    # Whole bars fill the time: the tempo gives way a little.
    bars = max(1, round((seconds - tail) / wished))
    kinds: tuple[Kind, ...] = ("intro", "verse", "chorus", "break", "outro")
    choice = [style.progressions[i] for i in rng.permutation(len(style.progressions))]
    shared = {kind: choice[number % len(choice)] for number, kind in enumerate(kinds)}
    return Frame(
        style=style,
        sections=_draw_form(bars, rng),
        key=int(rng.integers(12)),
        scale=style.scales[int(rng.integers(len(style.scales)))],
        progressions=shared | {"intro": shared["verse"], "outro": shared["chorus"]},
        bar_seconds=(seconds - tail) / bars,
        seconds=seconds,
    )


def _draw_form(bars: int, rng: Generator) -> tuple[Section, ...]:
    """Lay sections out over the bars; sections of one kind bring the same players."""
    roles = {kind: _draw_roles(kind, rng) for kind in PRESENCE}
    # Only the first form reaches a chorus, and so every player, within a few bars.
    form = FORMS[int(rng.integers(len(FORMS))) if bars >= 8 else 0]
    if bars < 3:
        return (Section("chorus", 0, bars, roles["chorus"]),)
    unit = min(8, 2 ** max(0, round(math.log2(bars / 7))))
    sections: list[Section] = []
    first = 0
    while first < bars:
        number = len(sections)
        letter = form[number] if number < len(form) - 1 else "VCB"[number % 3]
        length = max(1, unit // 2) if letter == "I" else unit
        left = bars - first - length
        if left <= 0 and number > 2:
            letter, length = form[-1], bars - first
        length = min(length, bars - first)
        kind = LETTERS[letter]
        sections.append(Section(kind, first, length, roles[kind]))
        first += length
    return tuple(sections)


def _draw_roles(kind: Kind, rng: Generator) -> frozenset[Role]:
    roles = {role for role, chance in PRESENCE[kind].items() if rng.random() < chance}
    # A section in which nobody plays would be a hole in the song.
    if not roles & {"bass", "chords", "lead", "voice"}:
        roles.add("chords")
    return frozenset(roles)

"""The tunes: a motif per kind of section, repeated and bent to the chords."""

from dataclasses import dataclass

from numpy.random import Generator

from pipelines.synthesis.accompaniment import attacks, humanise, voice_chord
from pipelines.synthesis.frame import Frame, Kind, Section
from pipelines.synthesis.score import Note

MOTIF_BARS = 2


@dataclass(frozen=True)
class Motif:
    """Two bars of tune: sixteenths where notes start, their lengths, their scale degrees."""

    steps: tuple[int, ...]
    lengths: tuple[int, ...]
    degrees: tuple[int, ...]


@dataclass(frozen=True)
class Range:
    """Where a player is at home: a MIDI pitch, and how many sixteenths a note lasts."""

    centre: int
    lengths: tuple[int, ...]
    rest: float
    """Chance of a rest after a note."""


def write_tune(frame: Frame, role: str, register: Range, rng: Generator) -> tuple[Note, ...]:
    """Write a voice or lead line: the same motif whenever its kind of section comes back."""
    motifs: dict[Kind, tuple[Motif, Motif]] = {}
    notes: list[Note] = []
    for section in frame.sections:
        if role not in section.roles:
            continue
        if section.kind not in motifs:
            motifs[section.kind] = (
                _draw_motif(frame, register, rng),
                _draw_motif(frame, register, rng),
            )
        lift = 2 if section.kind == "chorus" else 0
        for bar in range(section.first, section.first + section.bars, MOTIF_BARS):
            # A a A b: the second motif answers every other time.
            answer = (bar - section.first) // MOTIF_BARS % 4 == 3
            motif = motifs[section.kind][answer]
            notes += _bend(frame, section, bar, motif, register.centre + lift)
    return tuple(humanise(note, rng, 7.0) for note in notes)


def _draw_motif(frame: Frame, register: Range, rng: Generator) -> Motif:
    """Draw two bars: a walk over the scale that breathes before its end."""
    end = frame.steps * MOTIF_BARS - int(rng.integers(2, 7))
    step = int(rng.choice([0, 0, 2, 4]))
    degree = int(rng.integers(-1, 3))
    steps, lengths, degrees = [], [], []
    while step < end:
        length = min(int(rng.choice(register.lengths)), end - step)
        steps.append(step)
        lengths.append(length)
        degrees.append(degree)
        step += length + (2 if rng.random() < register.rest else 0)
        leap = int(rng.choice([-3, -2, -1, -1, 0, 1, 1, 2, 4]))
        degree += leap if abs(degree + leap) <= 4 else -leap
    return Motif(tuple(steps), tuple(lengths), tuple(degrees))


def _bend(frame: Frame, section: Section, first: int, motif: Motif, centre: int) -> list[Note]:
    """Lay a motif from bar `first`: long and accented notes move to the chord below them."""
    notes = []
    for step, length, degree in zip(motif.steps, motif.lengths, motif.degrees, strict=True):
        ahead, inside = divmod(step, frame.steps)
        bar = first + ahead
        if bar >= section.first + section.bars:
            break
        tonic = centre - 6 + (frame.key - centre + 6) % 12
        pitch = tonic - frame.key + frame.pitch(degree)
        if step % 4 == 0 or length >= 4:
            chord = frame.chord(frame.degree(section, bar))
            pitch = min(voice_chord(chord, pitch), key=lambda tone: abs(tone - pitch))
        start = frame.at(bar, inside)
        seconds = frame.at(bar, inside + length) - start
        notes.append(Note(start, 0.95 * seconds, pitch, 100 if step % 8 == 0 else 88))
    return notes


def write_arpeggio(frame: Frame, centre: int, rng: Generator) -> tuple[Note, ...]:
    """Write the style's arpeggio wherever the lead has no tune to play."""
    notes: list[Note] = []
    for section in frame.sections:
        if section.kind not in ("intro", "verse", "chorus"):
            continue
        for bar in range(section.first, section.first + section.bars):
            voiced = voice_chord(frame.chord(frame.degree(section, bar)), centre)
            for step, _, token in attacks(frame.style.arpeggio):
                octave, tone = divmod(int(token), len(voiced))
                start = frame.at(bar, step)
                pitch = voiced[tone] + 12 * octave
                notes.append(Note(start, 0.8 * frame.bar_seconds / frame.steps, pitch, 78))
    return tuple(humanise(note, rng, 2.0) for note in notes)

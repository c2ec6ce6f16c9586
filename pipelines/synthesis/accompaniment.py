"""The rhythm section: drums, bass, chords and pads, note by note."""

from collections.abc import Iterator

from numpy.random import Generator

from pipelines.synthesis.frame import Frame, Section
from pipelines.synthesis.score import Note
from pipelines.synthesis.styles import (
    CLOSED_HAT,
    CRASH,
    KICK,
    OPEN_HAT,
    SNARE,
    TOMS,
    Groove,
)

STROKES = {"X": 116, "x": 92, "o": 50}
LOWEST_BASS = 28
Attack = tuple[int, int, str]
"""Step, length in steps, token."""


def attacks(pattern: str) -> Iterator[Attack]:
    """Yield the attacks of a one-bar pattern with the steps each is held."""
    for step, token in enumerate(pattern):
        if token in ".-":
            continue
        length = 1
        while step + length < len(pattern) and pattern[step + length] == "-":
            length += 1
        yield step, length, token


def humanise(note: Note, rng: Generator, milliseconds: float = 4.0) -> Note:
    """Return a note as a hand would play it: a little early or late, louder or softer."""
    start = max(0.0, note.start + float(rng.normal(0, milliseconds / 1000)))
    velocity = round(note.velocity + rng.normal(0, 5))
    return Note(start, note.seconds, note.pitch, min(127, max(1, velocity)))


def write_drums(frame: Frame, rng: Generator) -> tuple[Note, ...]:
    """Write the drums: a groove for quiet sections, one for choruses, crashes and fills."""
    grooves = frame.style.grooves
    order = rng.permutation(len(grooves))
    quiet, loud = grooves[order[0]], grooves[order[-1]]
    notes: list[Note] = []
    for section in frame.sections:
        if "drums" not in section.roles:
            continue
        groove = loud if section.kind == "chorus" else quiet
        if section.kind == "chorus" or rng.random() < 0.3:
            notes.append(Note(frame.at(section.first, 0), 1.5, CRASH, 100))
        for bar in range(section.first, section.first + section.bars):
            last = bar == section.first + section.bars - 1
            fill_steps = int(rng.choice([0, 4, 4, 8])) if last and section.bars > 1 else 0
            notes += _drum_bar(frame, groove, bar, frame.steps - fill_steps)
            notes += _fill(frame, bar, fill_steps, rng)
    notes += [Note(frame.at(frame.bars, 0), 1.5, key, 105) for key in (KICK, CRASH)]
    return tuple(humanise(note, rng) for note in notes)


def _drum_bar(frame: Frame, groove: Groove, bar: int, until: int) -> Iterator[Note]:
    for key, pattern in groove.items():
        for step, token in enumerate(pattern[:until]):
            if token in STROKES:
                accent = 8 if step % 4 == 0 else 0
                soft = 18 if key in (CLOSED_HAT, OPEN_HAT) else 0
                velocity = STROKES[token] + accent - soft
                yield Note(frame.at(bar, step), 0.2, key, velocity)


def _fill(frame: Frame, bar: int, length: int, rng: Generator) -> Iterator[Note]:
    """Roll from the snare down the toms, growing louder."""
    for number in range(length):
        if rng.random() < 0.2:
            continue
        progress = number / length
        key = SNARE if progress < 0.3 else TOMS[int(progress * len(TOMS))]
        time = frame.at(bar, frame.steps - length + number)
        yield Note(time, 0.2, key, round(72 + 36 * progress))


def write_bass(frame: Frame, rng: Generator) -> tuple[Note, ...]:
    """Write the bass line."""
    lines = frame.style.bass_lines
    order = rng.permutation(len(lines))
    notes: list[Note] = []
    for section in frame.sections:
        if "bass" not in section.roles:
            continue
        line = lines[order[-1]] if section.kind == "chorus" else lines[order[0]]
        for bar in range(section.first, section.first + section.bars):
            for step, length, token in attacks(line):
                pitch = _bass_pitch(frame, section, bar, token, rng)
                notes.append(_held(frame, bar, (step, length, token), pitch, 96))
    final = _low(frame.chord(frame.degree(frame.sections[-1], frame.sections[-1].first))[0])
    notes.append(Note(frame.at(frame.bars, 0), frame.tail * 0.8, final, 100))
    return tuple(humanise(note, rng) for note in notes)


def _bass_pitch(frame: Frame, section: Section, bar: int, token: str, rng: Generator) -> int:
    degree = frame.degree(section, bar)
    root = _low(frame.pitch(degree))
    if token == "a":
        goal = _low(frame.pitch(frame.degree(section, bar + 1)))
        return goal + int(rng.choice([-2, -1, 1, 2]))
    if token == "t":
        return _low(int(rng.choice(frame.chord(degree)[1:])), root)
    return root + {"r": 0, "f": 7, "o": 12}[token]


def _low(pitch: int, above: int = LOWEST_BASS) -> int:
    """Return the pitch folded into the octave that starts at `above`."""
    return above + (pitch - above) % 12


def _held(frame: Frame, bar: int, attack: Attack, pitch: int, velocity: int) -> Note:
    step, length, _ = attack
    start = frame.at(bar, step)
    seconds = frame.at(bar, step + length) - start
    return Note(start, 0.93 * seconds, pitch, velocity + (6 if step % 8 == 0 else 0))


def write_chords(frame: Frame, centre: int, rng: Generator) -> tuple[Note, ...]:
    """Write the comping: strummed, picked or struck chords around a MIDI pitch."""
    patterns = frame.style.comping
    order = rng.permutation(len(patterns))
    notes: list[Note] = []
    for section in frame.sections:
        if "chords" not in section.roles:
            continue
        pattern = patterns[order[-1]] if section.kind == "chorus" else patterns[order[0]]
        for bar in range(section.first, section.first + section.bars):
            voiced = voice_chord(frame.chord(frame.degree(section, bar)), centre)
            for attack in attacks(pattern):
                notes += _strike(frame, bar, attack, voiced)
    last = frame.sections[-1]
    voiced = voice_chord(frame.chord(frame.degree(last, last.first)), centre)
    notes += [Note(frame.at(frame.bars, 0), frame.tail * 0.85, pitch, 84) for pitch in voiced]
    return tuple(humanise(note, rng) for note in notes)


def voice_chord(chord: tuple[int, ...], centre: int) -> tuple[int, ...]:
    """Return the chord's tones, each in the octave around `centre`, lowest first."""
    return tuple(sorted(centre - 6 + (pitch - centre + 6) % 12 for pitch in chord))


def _strike(frame: Frame, bar: int, attack: Attack, voiced: tuple[int, ...]) -> Iterator[Note]:
    token = attack[2]
    tones, velocity = voiced, 84
    if token == "u":
        tones, velocity = voiced[:0:-1], 66
    elif token.isdigit():
        octave, tone = divmod(int(token), len(voiced))
        tones, velocity = (voiced[tone] + 12 * octave,), 80
    for number, pitch in enumerate(tones):
        note = _held(frame, bar, attack, pitch, velocity)
        # Strings are struck one after the other.
        yield Note(note.start + 0.008 * number, note.seconds, pitch, note.velocity)


def write_pad(frame: Frame, centre: int, rng: Generator) -> tuple[Note, ...]:
    """Write chords held for a bar each, where the song swells."""
    notes: list[Note] = []
    for section in frame.sections:
        if "pad" not in section.roles:
            continue
        for bar in range(section.first, section.first + section.bars):
            for pitch in voice_chord(frame.chord(frame.degree(section, bar)), centre):
                notes.append(Note(frame.at(bar, 0), 0.97 * frame.bar_seconds, pitch, 70))
    return tuple(humanise(note, rng) for note in notes)

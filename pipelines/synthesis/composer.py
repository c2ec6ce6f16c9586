"""Compose a song: draw its frame, seat its players, write their parts."""

from numpy.random import Generator

from pipelines.synthesis import accompaniment, melody
from pipelines.synthesis.frame import Frame, draw_frame
from pipelines.synthesis.score import Note, Part, Singer, Song
from pipelines.synthesis.styles import Style

VOCAL_LENGTHS = (2, 2, 3, 4, 4, 6, 8)
LEAD_LENGTHS = (1, 2, 2, 2, 3, 4, 6)
CHOIRS = (52, 53, 54, 85)
GUITARS = range(24, 32)


def compose(style: Style, seconds: float, rng: Generator, sung: bool = True) -> Song:
    """Compose a song of a style, `seconds` long; `sung` gives it vocals.

    The same generator state gives the same song.
    """
    # One stream per player: what the drummer draws changes nobody else's notes.
    form, rhythm, keys, tune, vocal = rng.spawn(5)
    frame = draw_frame(style, seconds, form)
    parts = [*_rhythm_section(frame, rhythm), *_keyboards(frame, keys), *_lead(frame, tune)]
    singer, line, choir = _vocals(frame, vocal) if sung else (None, (), [])
    return Song(
        genre=style.genre,
        seconds=seconds,
        tempo=60 * style.beats / frame.bar_seconds,
        parts=tuple(part for part in [*parts, *choir] if part.notes),
        singer=singer,
        sung=line,
    )


def _rhythm_section(frame: Frame, rng: Generator) -> list[Part]:
    style = frame.style
    kit, bass = int(rng.choice(style.kits)), int(rng.choice(style.basses))
    pan = 0.5 + rng.normal(0, 0.03)
    return [
        Part("drums", kit, accompaniment.write_drums(frame, rng), drums=True),
        Part("bass", bass, accompaniment.write_bass(frame, rng), pan=pan),
    ]


def _keyboards(frame: Frame, rng: Generator) -> list[Part]:
    """Seat the chords on one side, sometimes a second player on the other, and a pad between."""
    style = frame.style
    side = rng.uniform(0.22, 0.42)
    programs = [int(program) for program in rng.permutation(style.keys)]
    centres = [52 if program in GUITARS else 58 for program in programs]
    first = accompaniment.write_chords(frame, centres[0], rng)
    parts = [Part("other", programs[0], first, pan=side)]
    if rng.random() < 0.5:
        second = accompaniment.write_chords(frame, centres[1], rng)
        parts.append(Part("other", programs[1], second, pan=1 - side, volume=0.75))
    if style.pads:
        pad = accompaniment.write_pad(frame, 64, rng)
        parts.append(Part("other", int(rng.choice(style.pads)), pad, volume=0.7))
    return parts


def _lead(frame: Frame, rng: Generator) -> list[Part]:
    style = frame.style
    program = int(rng.choice(style.leads))
    register = melody.Range(int(rng.integers(68, 76)), LEAD_LENGTHS, rest=0.12)
    pan = rng.uniform(0.4, 0.72)
    tune = melody.write_tune(frame, "lead", register, rng)
    parts = [Part("other", program, tune, pan=pan, vibrato=rng.uniform(0, 0.2))]
    if style.arpeggio:
        arpeggio = melody.write_arpeggio(frame, 66, rng)
        programs = [other for other in style.leads if other != program]
        parts.append(Part("other", int(rng.choice(programs)), arpeggio, pan=1 - pan, volume=0.6))
    return parts


def _vocals(frame: Frame, rng: Generator) -> tuple[Singer | None, tuple[Note, ...], list[Part]]:
    """Draw who sings: a singer, a choir of the SoundFont, or both in choruses."""
    high = rng.random() < 0.5
    singer = _draw_singer(high, rng)
    register = melody.Range(int(rng.integers(62, 70) if high else rng.integers(51, 59)),
                         VOCAL_LENGTHS, rest=0.15)  # fmt: skip
    line = melody.write_tune(frame, "voice", register, rng)
    program = int(rng.choice(CHOIRS))
    draw = rng.random()
    if draw < 0.18:
        choir = Part("vocals", program, line, vibrato=rng.uniform(0.15, 0.35))
        return None, (), [choir]
    if draw < 0.45:
        backing = _backing(frame, line)
        return singer, line, [Part("vocals", program, backing, pan=0.6, volume=0.45)]
    return singer, line, []


def _draw_singer(high: bool, rng: Generator) -> Singer:
    return Singer(
        tract=float(rng.uniform(1.12, 1.26) if high else rng.uniform(0.94, 1.08)),
        breath=float(rng.uniform(0.02, 0.12)),
        tilt=float(rng.integers(6, 11)),
        vibrato=float(rng.uniform(0.15, 0.55)),
        vibrato_hertz=float(rng.uniform(4.8, 6.4)),
        glide=float(rng.uniform(0.015, 0.06)),
        doubled=bool(rng.random() < 0.35),
    )


def _backing(frame: Frame, line: tuple[Note, ...]) -> tuple[Note, ...]:
    """Return the long notes of the choruses, a diatonic third higher."""
    spans = [
        (frame.at(section.first, 0), frame.at(section.first + section.bars, 0))
        for section in frame.sections
        if section.kind == "chorus"
    ]
    return tuple(
        Note(note.start, note.seconds, _third_above(frame, note.pitch), 80)
        for note in line
        if note.seconds > 0.25 and any(start <= note.start < end for start, end in spans)
    )


def _third_above(frame: Frame, pitch: int) -> int:
    inside = {(frame.key + step) % 12 for step in frame.scale}
    return pitch + (3 if (pitch + 3) % 12 in inside else 4)

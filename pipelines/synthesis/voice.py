"""A singing voice without samples: a glottal source through the formants of vowels."""

from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import lfilter

from pipelines.synthesis.score import SAMPLE_RATE, Note, Singer, Sound

VOWELS: dict[str, tuple[tuple[float, float, float], ...]] = {
    # Frequency in Hz, gain in dB and bandwidth in Hz of an adult male's first five formants.
    "a": ((700, 0, 90), (1180, -5, 100), (2500, -14, 130), (3300, -15, 150), (4300, -24, 220)),
    "e": ((440, 0, 70), (1800, -12, 95), (2500, -13, 120), (3350, -16, 140), (4300, -26, 220)),
    "i": ((290, 0, 60), (2150, -16, 100), (2800, -17, 120), (3500, -19, 140), (4400, -28, 220)),
    "o": ((430, 0, 70), (820, -8, 85), (2500, -20, 120), (3200, -19, 140), (4200, -30, 220)),
    "u": ((330, 0, 60), (650, -15, 80), (2400, -26, 120), (3200, -26, 140), (4200, -36, 220)),
}
TABLE = 4096
HARMONICS = 48
RELEASE_SECONDS = 0.07
DIPHTHONG_SECONDS = 0.35

Wave = NDArray[np.float64]


def sing(notes: tuple[Note, ...], singer: Singer, frames: int, rng: Generator) -> Sound:
    """Sing a line: `(frames, 2)`, 44.1 kHz; a doubled singer stands left and right of centre."""
    takes = [_take(notes, singer, frames, rng) for _ in range(2 if singer.doubled else 1)]
    if not singer.doubled:
        return np.repeat(takes[0][:, None], 2, axis=1)
    first, second = takes
    return np.stack([first + 0.45 * second, 0.45 * first + second], axis=1)


def _take(
    notes: tuple[Note, ...], singer: Singer, frames: int, rng: Generator
) -> NDArray[np.float32]:
    """Sing a line once: `(frames,)`."""
    line = np.zeros(frames, dtype=np.float32)
    vowels = tuple(VOWELS)
    previous: Note | None = None
    for note in notes:
        start = max(0, round(note.start * SAMPLE_RATE))
        if start >= frames:
            break
        legato = previous is not None and note.start - previous.start - previous.seconds < 0.03
        coming_from = previous.pitch if legato and previous is not None else note.pitch - 1.5
        colours = [str(name) for name in rng.choice(vowels, 2)]
        if note.seconds < DIPHTHONG_SECONDS:
            colours = colours[:1]
        sound = _note(note, coming_from, singer, colours, rng)[: frames - start]
        line[start : start + len(sound)] += sound
        previous = note
    return line


def _note(
    note: Note, coming_from: float, singer: Singer, colours: list[str], rng: Generator
) -> Wave:
    """Sing one note, its release included."""
    count = round((note.seconds + RELEASE_SECONDS) * SAMPLE_RATE)
    time = np.arange(count) / SAMPLE_RATE
    pitch = _pitch(note, coming_from, singer, time, rng)
    phase = np.cumsum(440.0 * 2.0 ** ((pitch - 69) / 12) / SAMPLE_RATE) + rng.random()
    source = _pulse(round(singer.tilt))[(phase * TABLE).astype(np.int64) % TABLE]
    # Breath rides on the pulses: it is loudest while the glottis is open.
    hiss = rng.standard_normal(count) * (0.6 + 0.4 * np.cos(2 * np.pi * phase))
    source = source + singer.breath * hiss
    sound = _vowel(source, colours[0], singer.tract)
    if len(colours) > 1:
        turn = np.clip((time - 0.45 * note.seconds) / 0.12, 0, 1)
        sound = (1 - turn) * sound + turn * _vowel(source, colours[1], singer.tract)
    sound = sound * _loudness(note, time)
    return sound + _consonant(note, count, rng)


def _pitch(note: Note, coming_from: float, singer: Singer, time: Wave, rng: Generator) -> Wave:
    """Return the pitch in semitones: glide in, vibrato once settled, never quite still."""
    settle = np.exp(-time / max(singer.glide, 1e-3))
    depth = singer.vibrato * np.clip((time - 0.18) / 0.25, 0, 1)
    rate = singer.vibrato_hertz * rng.uniform(0.94, 1.06)
    waver = depth * np.sin(2 * np.pi * rate * time + rng.uniform(0, 1))
    drift = rng.normal(0, 0.06) + 0.05 * np.sin(2 * np.pi * 1.7 * time + rng.uniform(0, 6))
    return note.pitch + (coming_from - note.pitch) * settle + waver + drift


def _loudness(note: Note, time: Wave) -> Wave:
    """Return the envelope: a soft onset, a slight swell, a release."""
    attack = np.clip(time / 0.035, 0, 1)
    release = np.clip((note.seconds + RELEASE_SECONDS - time) / RELEASE_SECONDS, 0, 1)
    swell = 0.85 + 0.15 * np.sin(np.pi * np.clip(time / max(note.seconds, 0.05), 0, 1))
    strength = float((note.velocity / 127) ** 1.5)
    return np.asarray(attack * release * swell * strength)


def _consonant(note: Note, count: int, rng: Generator) -> Wave:
    """Return a burst of noise before the vowel opens: a crude `t`, `s` or `h`."""
    burst = np.zeros(count)
    strength = rng.choice([0.0, 0.04, 0.12])
    length = min(count, round(rng.uniform(0.02, 0.07) * SAMPLE_RATE))
    noise = np.diff(rng.standard_normal(length + 1))
    burst[:length] = strength * noise * np.hanning(length) * note.velocity / 127
    return burst


def _vowel(source: Wave, name: str, tract: float) -> Wave:
    """Pass a source through a vowel's formants, each a two-pole resonator of unit peak gain."""
    sound = np.zeros_like(source)
    for number, (frequency, gain, bandwidth) in enumerate(VOWELS[name]):
        radius = np.exp(-np.pi * bandwidth / SAMPLE_RATE)
        angle = 2 * np.pi * frequency * tract / SAMPLE_RATE
        peak = (1 - radius) * abs(1 - radius * np.exp(-2j * angle))
        denominator = [1.0, -2 * radius * np.cos(angle), radius * radius]
        # Neighbouring formants add with opposite signs, or their skirts would cancel between.
        scale = (-1) ** number * 10 ** (gain / 20) * peak
        sound += lfilter([scale], denominator, source)
    return sound


@lru_cache(maxsize=8)
def _pulse(tilt: int) -> Wave:
    """Return one period of a band-limited glottal pulse whose harmonics fall by `tilt` dB/octave.

    48 harmonics stay below half the sampling rate up to a sung pitch of 459 Hz; above it the
    last ones fold back, 30 dB down and past the formants' reach.
    """
    phase = 2 * np.pi * np.arange(TABLE) / TABLE
    number = np.arange(1, HARMONICS + 1)
    weight = 10 ** (-tilt * np.log2(number) / 20)
    pulse = (weight[:, None] * np.cos(number[:, None] * phase)).sum(axis=0)
    return np.asarray(pulse / np.abs(pulse).max() * 4)

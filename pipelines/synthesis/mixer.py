"""Play a song into stems and balance them: levels, room, and never a clipped sample."""

from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from pipelines.synthesis.score import SAMPLE_RATE, STEMS, Pcm, Song, Sound, Stem
from pipelines.synthesis.soundfont import play
from pipelines.synthesis.voice import sing

LEVELS_DB: dict[Stem, float] = {"drums": -17.0, "bass": -20.0, "other": -21.0, "vocals": -19.0}
"""RMS where a stem sounds, before a draw of `SPREAD_DB` either way."""
SPREAD_DB = 2.0
ROOM: dict[Stem, float] = {"drums": 0.0, "bass": 0.0, "other": 0.10, "vocals": 0.16}
"""Share of the room in a stem. Drums and bass bring their own or stay dry, as is the habit."""
ROOM_SECONDS = 0.9
FADE_SECONDS = 0.25
FULL_SCALE = 32_767


def perform(song: Song, rng: Generator) -> dict[Stem, Sound]:
    """Play a song: four stems `(frames, 2)` whose sum peaks between 0.7 and 0.95.

    Raises:
        MachineError: the SoundFont is missing.
    """
    stems: dict[Stem, Sound] = {}
    for stem in STEMS:
        sound = _played(song, stem, rng)
        level = LEVELS_DB[stem] + rng.uniform(-SPREAD_DB, SPREAD_DB)
        stems[stem] = _levelled(_roomed(sound, ROOM[stem]), level)
    fade = _fade(song.frames)
    peak = float(np.abs(sum(stems.values()) * fade).max())
    # A stem may peak above the sum it cancels in: none of them may clip either.
    peak = max(peak, *(float(np.abs(sound).max()) for sound in stems.values()), 1e-6)
    gain = np.float32(rng.uniform(0.7, 0.95) / peak)
    return {stem: sound * (fade * gain) for stem, sound in stems.items()}


def quantise(sound: Sound) -> Pcm:
    """Return 16-bit sound. Plain rounding, no dither: the same song gives the same bytes."""
    return np.rint(sound * FULL_SCALE).astype(np.int16)


def _played(song: Song, stem: Stem, rng: Generator) -> Sound:
    sound = play([part for part in song.parts if part.stem == stem], song.frames)
    if stem == "vocals" and song.singer is not None:
        sound = 4 * sound + sing(song.sung, song.singer, song.frames, rng)
    return sound


def _levelled(sound: Sound, level_db: float) -> Sound:
    """Bring a stem to an RMS level, counted where it sounds, and round its highest peaks off."""
    power = (np.square(sound[:, 0]) + np.square(sound[:, 1])) / 2
    sounding = power > 1e-4 * power.max()
    if not sounding.any():
        return sound
    rms = np.sqrt(power[sounding].mean())
    scaled = sound * np.float32(10 ** (level_db / 20) / rms)
    # A tape's curve instead of a limiter: linear below, never above 0.8.
    return np.asarray(0.8 * np.tanh(scaled / 0.8), dtype=np.float32)


def _roomed(sound: Sound, share: float) -> Sound:
    if share == 0 or not sound.any():
        return sound
    dry = (sound[:, 0] + sound[:, 1]) / 2
    response = _room()
    wet = np.stack([oaconvolve(dry, side)[: len(dry)] for side in response], axis=1)
    return np.asarray(sound + share * wet, dtype=np.float32)


@lru_cache(maxsize=1)
def _room() -> NDArray[np.float32]:
    """Return a stereo impulse response, `(2, frames)`: decaying noise that darkens, unit energy."""
    frames = round(ROOM_SECONDS * SAMPLE_RATE)
    noise = np.random.default_rng(1978).standard_normal((2, frames))
    noise = (noise + np.roll(noise, 1, axis=1) + np.roll(noise, 2, axis=1)) / 3
    time = np.arange(frames) / SAMPLE_RATE
    response = noise * np.exp(-time * 6.9 / ROOM_SECONDS) * np.clip(time / 0.012, 0, 1)
    response /= np.sqrt(np.square(response).sum(axis=1, keepdims=True))
    return np.asarray(response * 1.5, dtype=np.float32)


def _fade(frames: int) -> Sound:
    """Return the gain `(frames, 1)` that closes a song: the last quarter second fades out."""
    left = np.arange(frames, 0, -1) / (FADE_SECONDS * SAMPLE_RATE)
    return np.minimum(left, 1.0).astype(np.float32)[:, None]

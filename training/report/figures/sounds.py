"""Excerpts to look at and to listen to: spectrograms and sound, carried inside the page."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import librosa
import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_hex
from matplotlib.image import imsave

from storage.audio.waveforms import Waveform, encode, probe, read_window
from storage.errors import ManifestError
from storage.files import read_json
from training.report.material import Results

MOST_SONGS = 3

REFERENCE = "reference"

AUDIO_BUDGET = 8_500_000
"""Bytes of FLAC of all excerpts together; base64 adds a third, and the page must stay small enough
to send."""

FLOOR_DB = -80.0
"""The darkest colour, relative to the mixture's loudest band."""

COLOUR_MAP = "magma"

TICKS_HZ = (100, 1000, 8000)

BANDS = 120
WINDOW = 4096
"""Samples: long enough to separate the notes of a bass."""

LOWEST_HZ = 40.0
HIGHEST_HZ = 16_000.0


class Rung(NamedTuple):
    """How much of the sound is kept."""

    seconds: float
    mono: bool


LADDER = tuple(Rung(*kept) for kept in [(6, False), (6, True), (5, True), (4, True), (2.5, True)])
"""Tried in this order; the first that fits the budget is taken, else the last."""


class Excerpt(NamedTuple):
    """One song's sounds by (stem, source); the mixture's stem is `mixture`."""

    song: str
    sample_rate: int
    sounds: dict[tuple[str, str], Waveform]


class Player(NamedTuple):
    """One sound as the page carries it."""

    flac: bytes
    png: bytes
    seconds: float
    mono: bool


class Tick(NamedTuple):
    """A frequency and how high in the picture it stands, in percent from the bottom."""

    label: str
    height: float


def read_excerpts(results: Results) -> list[Excerpt]:
    """Read the first songs' excerpts: mixture and references once, estimates of two models.

    Files that are missing are left out.
    """
    folders: dict[str, dict[str, Path]] = {}
    for each in results.models[:2]:
        for song, folder in _folders(each.row.excerpts).items():
            folders.setdefault(song, {})[each.key] = folder
    first = list(folders.items())[:MOST_SONGS]
    excerpts = (_read(song, found, results.names) for song, found in first)
    return [excerpt for excerpt in excerpts if excerpt.sounds]


def players(excerpts: Sequence[Excerpt]) -> list[dict[tuple[str, str], Player]]:
    """Encode every excerpt, as much of it as the budget of the page allows."""
    for rung in LADDER:
        sounds = [
            {name: _cut(sound, excerpt.sample_rate, rung) for name, sound in excerpt.sounds.items()}
            for excerpt in excerpts
        ]
        encoded = [
            {name: encode(sound, excerpt.sample_rate) for name, sound in cut.items()}
            for excerpt, cut in zip(excerpts, sounds, strict=True)
        ]
        if sum(len(flac) for song in encoded for flac in song.values()) <= AUDIO_BUDGET:
            break
    return [
        _song_players(excerpt, cut, flacs)
        for excerpt, cut, flacs in zip(excerpts, sounds, encoded, strict=True)
    ]


def frequency_ticks(sample_rate: int) -> list[Tick]:
    """Return where the labelled frequencies stand on the logarithmic axis."""
    octaves = math.log2(_highest(sample_rate) / LOWEST_HZ)
    ticks = []
    for frequency in TICKS_HZ:
        height = 100 * math.log2(frequency / LOWEST_HZ) / octaves
        label = f"{frequency // 1000} kHz" if frequency >= 1000 else f"{frequency} Hz"
        if height < 97:
            ticks.append(Tick(label, round(height, 1)))
    return ticks


def colour_scale() -> str:
    """Return the colour scale of the spectrograms as a CSS gradient, floor to peak."""
    colours = matplotlib.colormaps[COLOUR_MAP]
    return f"linear-gradient(to right,{','.join(to_hex(colours(n / 8)) for n in range(9))})"


def _song_players(
    excerpt: Excerpt, cut: dict[tuple[str, str], Waveform], flacs: dict[tuple[str, str], bytes]
) -> dict[tuple[str, str], Player]:
    powers = {name: _band_power(sound, excerpt.sample_rate) for name, sound in cut.items()}
    # One scale per song: a stem that is darker than its mixture is quieter than it.
    loudest = [powers[name] for name in powers if name[0] == "mixture"] or powers.values()
    peak = max(1e-10, *(float(power.max()) for power in loudest))
    return {
        name: Player(
            flac=flacs[name],
            png=_picture(powers[name], peak),
            seconds=sound.shape[1] / excerpt.sample_rate,
            mono=sound.shape[0] == 1,
        )
        for name, sound in cut.items()
    }


def _band_power(sound: Waveform, sample_rate: int) -> npt.NDArray[np.float64]:
    mono = sound.mean(axis=0)
    mono = np.pad(mono, (0, max(0, WINDOW - mono.size)))
    hop = max(256, min(1024, mono.size // 256))
    spectrum = librosa.stft(mono, n_fft=WINDOW, hop_length=hop)
    power: npt.NDArray[np.float64] = _log_bands(sample_rate) @ np.abs(spectrum) ** 2
    return power


def _log_bands(sample_rate: int) -> npt.NDArray[np.float64]:
    """Return triangular bands evenly spaced in octaves, each at least one FFT bin wide.

    Mel bands would give the bass, a quarter of what is separated, a sliver of the picture.
    """
    bins = librosa.fft_frequencies(sr=sample_rate, n_fft=WINDOW)
    centres = np.geomspace(LOWEST_HZ, _highest(sample_rate), BANDS)
    widths = np.maximum(np.gradient(centres), bins[1])
    weights = np.maximum(0.0, 1 - np.abs(bins - centres[:, None]) / widths[:, None])
    bands: npt.NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return bands


def _picture(power: npt.NDArray[np.float64], peak: float) -> bytes:
    decibels = librosa.power_to_db(power, ref=peak, amin=1e-10, top_db=None)
    buffer = io.BytesIO()
    options: dict[str, Any] = {
        "format": "png",
        "origin": "lower",
        "cmap": COLOUR_MAP,
        "vmin": FLOOR_DB,
        "vmax": 0.0,
        "metadata": {"Software": None},
    }
    imsave(buffer, decibels, **options)
    return buffer.getvalue()


def _cut(sound: Waveform, sample_rate: int, rung: Rung) -> Waveform:
    frames = min(sound.shape[1], round(rung.seconds * sample_rate))
    start = (sound.shape[1] - frames) // 2
    window = sound[:, start : start + frames]
    return window.mean(axis=0, keepdims=True) if rung.mono else window


def _read(song: str, folders: dict[str, Path], stems: Sequence[str]) -> Excerpt:
    wanted: dict[tuple[str, str], Path] = {}
    for key, folder in folders.items():
        wanted.setdefault(("mixture", REFERENCE), folder / "mixture.flac")
        for stem in stems:
            wanted.setdefault((stem, REFERENCE), folder / f"{stem}-reference.flac")
            wanted[(stem, key)] = folder / f"{stem}.flac"
    present = {name: path for name, path in wanted.items() if path.is_file()}
    rates = [probe(path).sample_rate for path in present.values()]
    sounds = {name: read_window(path) for name, path in present.items()}
    return Excerpt(song, rates[0] if rates else 0, sounds)


def _folders(root: Path | None) -> dict[str, Path]:
    if root is None or not (root / "excerpts.json").is_file():
        return {}
    listed = read_json(root / "excerpts.json")
    try:
        return {str(each["song"]): root / str(each["folder"]) for each in listed}
    except (TypeError, KeyError) as error:
        raise ManifestError(
            f"{root / 'excerpts.json'} is not a list of excerpts (song and folder); evaluate again"
        ) from error


def _highest(sample_rate: int) -> float:
    return min(HIGHEST_HZ, sample_rate / 2)

"""Spectrogram pictures of a song's stems: time across, octaves up, one scale of decibels for all.

However long a song is, a picture looks at a fixed number of moments of it.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from storage.errors import DecodeError
from storage.files import arriving
from storage.names.spelling import library_path, printable

Power = npt.NDArray[np.float64]

COLUMNS, ROWS = 1000, 240
WINDOW = 4096
"""Samples of a Hann window."""
WINDOWS = 4
"""Looked at in each column, one half over the other."""
LOWEST_HZ = 30.0
RANGE_DB = 80.0
"""From the loudest point of any stem down to the darkest colour."""


def draw_spectrograms(recordings: Mapping[str, Path]) -> list[Path]:
    """Write <recording>.png beside each recording; return the pictures' paths.

    Args:
        recordings: files of one song by the titles they get.

    Raises:
        DecodeError: a recording cannot be read.
        MachineError: the disk is full, read-only or forbidden.
    """
    powers = {title: band_powers(path) for title, path in recordings.items()}
    peak = max((power.max(initial=0.0) for power in powers.values()), default=0.0) or 1.0
    pictures = []
    for title, path in recordings.items():
        pictures.append(path.with_suffix(".png"))
        info = soundfile.info(library_path(path))
        seconds, highest = info.frames / info.samplerate, info.samplerate / 2
        _draw(pictures[-1], title, powers[title] / peak, (seconds, highest))
    return pictures


def band_powers(path: Path) -> Power:
    """Return [rows, columns]: power at frequencies evenly spaced in octaves, the lowest first.

    Channels are averaged as power, so that what is opposite in them does not vanish.
    """
    try:
        with soundfile.SoundFile(library_path(path)) as stream:
            columns = max(1, min(COLUMNS, 2 * stream.frames // WINDOW))
            found = np.empty((ROWS, columns))
            bins = _nearest_bins(stream.samplerate)
            for column in range(columns):
                stream.seek(column * stream.frames // columns)
                sound = stream.read((WINDOWS + 1) * WINDOW // 2, dtype="float32", always_2d=True)
                found[:, column] = _spectrum(sound)[bins]
            return found
    except soundfile.LibsndfileError as error:
        raise DecodeError(f"{printable(path)} cannot be read for its picture ({error})") from error


def _spectrum(sound: npt.NDArray[np.float32]) -> Power:
    """Return the mean power [bins] of [frames, channels]."""
    padded = np.pad(sound, ((0, max(0, WINDOW - len(sound))), (0, 0)))
    framed = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=0)[:: WINDOW // 2]
    spectra = np.fft.rfft(framed * np.hanning(WINDOW), axis=-1)
    power: Power = (np.abs(spectra) ** 2).mean((0, 1))
    return power


def _nearest_bins(sample_rate: int) -> npt.NDArray[np.intp]:
    highest = sample_rate / 2
    frequencies = np.geomspace(min(LOWEST_HZ, highest / 2), highest, ROWS)
    nearest: npt.NDArray[np.intp] = np.rint(frequencies * WINDOW / sample_rate).astype(np.intp)
    return nearest


def _draw(path: Path, title: str, power: Power, extent: tuple[float, float]) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415  only where a picture is drawn

    seconds, highest = extent
    lowest = min(LOWEST_HZ, highest / 2)
    decibels = 10 * np.log10(np.maximum(power, 1e-12))
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots()
    edges = np.geomspace(lowest, highest, ROWS + 1)
    times = np.linspace(0, seconds, power.shape[1] + 1)
    mesh = axes.pcolormesh(times, edges, decibels, vmin=-RANGE_DB, vmax=0, cmap="magma")
    axes.set(yscale="log", xlabel="s", ylabel="Hz")
    # A dollar in a name begins no formula.
    axes.set_title(title, parse_math=False)
    figure.colorbar(mesh, label="dB")
    with arriving(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None})

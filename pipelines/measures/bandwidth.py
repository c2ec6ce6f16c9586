"""Bandwidth: the highest frequency at which anything sounds.

Lossy codecs leave out what lies above 16 kHz or so, and sound that was brought up from a lower
rate holds nothing above half of it, whatever rate its file states.
"""

import numpy as np
import numpy.typing as npt

from pipelines.measures.measure import Figure, Kind, Second, Value

SIZE = 2048
"""Samples of a spectrum: lines are 21.5 Hz apart at 44.1 kHz."""
WINDOW = (0.35875, -0.48829, 0.14128, -0.01168)
"""Blackman and Harris's: a line spreads over four on each side, and is 92 dB down beyond (Harris
1978, "On the use of windows for harmonic analysis with the discrete Fourier transform")."""
SPECTRA = 4
"""Of a second, evenly spread: their mean is its spectrum."""
FAINTEST_DB = -110.0
"""Of a line, against that of a sine at full scale, in the mean of both channels. The noise of 16
bits lies 15 dB below in each line, so that a file's own rounding is no sound."""
REACHED = 90
"""Percent: a track's bandwidth is what one in ten of the seconds that sound reaches or exceeds. A
single click holds every frequency, and soft passages hold few."""


class Bandwidth:
    """In Hz; 0 in a second without any line of sound, None in a track of such seconds."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        terms = (
            weight * np.cos(2 * np.pi * number * np.arange(SIZE) / SIZE)
            for number, weight in enumerate(WINDOW)
        )
        self._window = np.sum(list(terms), axis=0).astype(np.float32)
        # A sine at full scale has half the window's sum in its line; of two channels, the lines of
        # the complex signal's spectrum hold four times their mean power.
        self._least = 10 ** (FAINTEST_DB / 10) * 4 * (float(self._window.sum()) / 2) ** 2
        self._found: list[int] = []

    def take(self, second: Second) -> Value:
        """Return the second's bandwidth."""
        power = self._power(second.frames)
        lines = np.flatnonzero(power > self._least)
        found = round(float(lines[-1]) * self._rate / SIZE) if len(lines) else 0
        if found:
            self._found.append(found)
        return found

    def whole(self) -> dict[str, Value]:
        """Return the bandwidth that one in ten of the seconds that sound reaches."""
        if not self._found:
            return {"bandwidth_hz": None}
        return {"bandwidth_hz": int(np.percentile(self._found, REACHED, method="lower"))}

    def _power(self, frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return [SIZE / 2 + 1]: four times the channels' mean power in each line."""
        # Both channels at once: the left as real part, the right as imaginary part. The spectrum
        # of either is conjugate symmetric, so the powers of a line and its mirror image add up to
        # twice those of both channels.
        signal = frames.view(np.complex64)[:, 0]
        if len(signal) < SIZE:
            signal = np.pad(signal, (0, SIZE - len(signal)))
        spare = len(signal) - SIZE
        starts = [spare * number // (SPECTRA - 1) for number in range(SPECTRA)] if spare else [0]
        parts = np.stack([signal[start : start + SIZE] for start in starts])
        spectra = np.fft.fft(parts * self._window).view(np.float32)
        squares: npt.NDArray[np.float32] = np.einsum("ij,ij->j", spectra, spectra)
        both = squares[::2] + squares[1::2]
        half = SIZE // 2
        power = both[: half + 1]
        power[1:half] += both[:half:-1]
        power /= np.float32(len(parts))
        return power


KIND = Kind(
    "bandwidth_hz_by_second",
    (Figure("bandwidth_hz", "Bandwidth (Hz)", tuple(range(10_000, 22_001, 1000)), whole=True),),
    Bandwidth,
)

"""Clipping: samples at full scale or beyond, and how many of them follow each other."""

import numpy as np
import numpy.typing as npt

from pipelines.measures.measure import Figure, Kind, Second, Value

FULL_SCALE = 32_767 / 32_768
"""The largest positive sample of 16 bits. What lossy codecs decode to may exceed 1."""
CHANNELS = 2
RUN = 3
"""Samples at full scale in a row that are a run. Fewer may be a peak that just reaches it."""
DIGITS = 4
"""Significant, of a share."""


class Clipping:
    """Counts over both channels; runs are of one channel, and go on across seconds."""

    def __init__(self, sample_rate: int) -> None:
        self._samples = self._clipped = self._runs = self._longest = 0
        self._open = [0] * CHANNELS
        """Length of the run that each channel ended in."""

    def take(self, second: Second) -> Value:
        """Return how many of the second's samples are at full scale or beyond."""
        sizes = second.sizes
        self._samples += sizes.size
        if sizes.max() < FULL_SCALE:
            # Most seconds: the largest sample shows it at a fraction of the cost.
            for channel in range(CHANNELS):
                self._close(channel)
            return 0
        full = np.flatnonzero(sizes >= FULL_SCALE)
        for channel in range(CHANNELS):
            places = full[full % CHANNELS == channel] // CHANNELS
            self._follow(channel, places, len(sizes))
        self._clipped += len(full)
        return len(full)

    def whole(self) -> dict[str, Value]:
        """Return the share of the track's samples, its runs, and the samples of its longest."""
        for channel in range(CHANNELS):
            self._close(channel)
        share = self._clipped / self._samples if self._samples else 0.0
        return {
            "clipped_share": float(f"{share:.{DIGITS}g}"),
            "clipped_runs": self._runs,
            "longest_clipped_run": self._longest,
        }

    def _follow(self, channel: int, places: npt.NDArray[np.int64], frames: int) -> None:
        """Count the runs of a channel's second; one that reaches its end stays open."""
        if not len(places) or places[0]:
            self._close(channel)
        if not len(places):
            return
        bounds = np.flatnonzero(np.diff(places, prepend=-2, append=frames + 1) > 1)
        lengths = np.diff(bounds)
        lengths[0] += self._open[channel]
        self._open[channel] = int(lengths[-1])
        self._runs += int(np.count_nonzero(lengths[:-1] >= RUN))
        self._longest = max(self._longest, int(lengths.max()))
        if places[-1] < frames - 1:
            self._close(channel)

    def _close(self, channel: int) -> None:
        length, self._open[channel] = self._open[channel], 0
        self._runs += length >= RUN
        self._longest = max(self._longest, length)


KIND = Kind(
    "clipped_by_second",
    (
        Figure(
            "clipped_share",
            "Share of samples at full scale",
            (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
        ),
        Figure(
            "clipped_runs",
            f"Runs of {RUN} samples or more at full scale",
            (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000),
            whole=True,
        ),
        Figure(
            "longest_clipped_run",
            "Longest run of samples at full scale",
            (1, 2, 3, 5, 10, 20, 50, 100),
            whole=True,
        ),
    ),
    Clipping,
)

"""What one fixed example sounds and looks like as the run goes: its outputs as FLAC and pictures.

::

    snapshots/step-00010190/mixture.flac    the example, the first one to validate with
                            mixture.png     its spectrogram
                            output-00.flac  one each per output, or per stem in fine-tuning
                            output-00.png

All share the gain that brings the mixture's peak to one half, and one range of levels.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from storage.audio.waveforms import Waveform, encode
from storage.files import disk_errors, write_bytes
from training.config import TrainConfig
from training.data.batches import Batch, Loader
from training.models.separator import Forward
from training.objectives.objective import Objective
from training.spectral import stft

Picture = npt.NDArray[np.uint8]
"""[height, width, 3]."""
PEAK = 0.5
ROWS, LOWEST_HZ = 192, 40.0
"""A picture's rows, from this frequency to the highest in equal steps of pitch."""
N_FFT = 2048
"""Window of the pictures' transform, in samples."""
RANGE_DB = 80.0
"""From the mixture's loudest bin down to black."""


class Snapshot(NamedTuple):
    """One example's signals by name."""

    sample_rate: int
    sounds: dict[str, Waveform]
    pictures: dict[str, Picture]


class Snapshots:
    """Takes them.

    Args:
        folder: where their folders go.
        config: the run's.
        data: whose first validation examples are run; the first of them is kept.
    """

    def __init__(self, folder: Path, config: TrainConfig, data: Loader) -> None:
        self._folder, self._config, self._data = folder, config, data
        self._batch: Batch | None = None

    def due(self, step: int) -> bool:
        """Say whether one is due after so many steps."""
        every = self._config.runtime.snapshot_every
        return every > 0 and step > 0 and (step % every == 0 or step == self._config.loop.steps)

    def take(self, step: int, forward: Forward, objective: Objective) -> Snapshot:
        """Run the model on the fixed example, write what comes out, and return it."""
        outcome = objective(forward, self._examples())
        mixture_1CT = outcome.inputs[0, :1].float()
        names = objective.output_names(self._config.data.names)
        gain = PEAK / mixture_1CT.abs().max().clamp_min(1e-9)
        signals_SCT = torch.cat([mixture_1CT, outcome.separation.waveforms[0]]) * gain
        named = dict(zip(["mixture", *names], signals_SCT.cpu(), strict=True))
        rate = self._config.model.sample_rate
        decibels = {name: _decibels(x, N_FFT) for name, x in named.items()}
        top = float(decibels["mixture"].max())
        bins = _rows(rate, N_FFT)
        snapshot = Snapshot(
            rate,
            {name: x.clamp(-1, 1).numpy() for name, x in named.items()},
            {name: _picture(level, top, bins) for name, level in decibels.items()},
        )
        self._write(step, snapshot)
        return snapshot

    def _examples(self) -> Batch:
        """Return as many examples as a validation takes at a time: compiled code has that shape."""
        if self._batch is None:
            batch = next(iter(self._data.validation()))
            self._batch = batch.split(self._config.runtime.micro_batch)[0]
        return self._batch

    def _write(self, step: int, snapshot: Snapshot) -> None:
        from matplotlib.image import imsave  # noqa: PLC0415

        folder = self._folder / f"step-{step:08d}"
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name, sound in snapshot.sounds.items():
                write_bytes(folder / f"{name}.flac", encode(sound, snapshot.sample_rate))
                imsave(folder / f"{name}.png", snapshot.pictures[name])


def _decibels(signal_CT: Tensor, n_fft: int) -> npt.NDArray[np.float32]:
    """Return the power of each bin and frame, the mean over channels, [F, N] in dB."""
    power_FN = stft(signal_CT, n_fft, n_fft // 4).abs().square().mean(0)
    level: npt.NDArray[np.float32] = (10 * power_FN.clamp_min(1e-20).log10()).numpy()
    return level


def _rows(sample_rate: int, n_fft: int) -> npt.NDArray[np.int64]:
    """Return the bin that each row of a picture shows, the highest first."""
    frequencies = np.geomspace(sample_rate / 2, LOWEST_HZ, ROWS)
    return np.rint(frequencies * n_fft / sample_rate).astype(np.int64)


def _picture(level: npt.NDArray[np.float32], top: float, bins: npt.NDArray[np.int64]) -> Picture:
    import matplotlib  # noqa: PLC0415  only where a picture is drawn

    shade = np.clip(1 + (level[bins] - top) / RANGE_DB, 0, 1)
    coloured: npt.NDArray[np.uint8] = matplotlib.colormaps["magma"](shade, bytes=True)
    return np.ascontiguousarray(coloured[..., :3])

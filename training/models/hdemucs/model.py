"""Hybrid Demucs: torchaudio's model behind the contract of a separator.

Défossez (2021), "Hybrid Spectrogram and Waveform Source Separation".

Tensors: B batch, I input waveforms (1), S outputs, C audio channels, T samples, P channels of a
last layer.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.models import HDemucs

from training.models.hdemucs.config import HdemucsConfig
from training.models.separator import ChoosesOutputs

BY_OUTPUT = {"weight": 1, "bias": 0}
"""Axis of the last layers' weights along which outputs lie, one after the other."""


class Hdemucs(ChoosesOutputs):
    """Hybrid Demucs; the published size is a value of its config.

    The network brings each example to mean 0 and deviation 1 in both branches and undoes it, so no
    level needs to be normalised before; from one window on, it also pads to whole frames.
    """

    config: HdemucsConfig

    def __init__(self, config: HdemucsConfig) -> None:
        super().__init__(config)
        self.network = HDemucs(
            sources=[f"output {number}" for number in range(config.outputs)],
            audio_channels=config.audio_channels,
            channels=config.channels,
            growth=config.growth,
            nfft=config.n_fft,
            depth=config.depth,
            freq_emb=config.frequency_embedding,
            dconv_depth=config.residual_layers,
            dconv_comp=config.compress,
        )
        depth = config.depth
        self._last = {
            f"network.{branch}_decoder.{layer}.conv_tr.{part}": axis
            for branch, layer in (("freq", depth - 1), ("time", len(self.network.time_decoder) - 1))
            for part, axis in BY_OUTPUT.items()
        }

    def forward(self, x_BICT: Tensor) -> Tensor:
        """Separate float32 waveforms [B, 1, C, T] into float32 [B, S, C, T].

        What is shorter than a window is padded with zeros to one: its edges cannot be reflected.
        All of it runs in float32 even under autocast: the last layers write spectrum and waveform
        themselves, where bfloat16's rounding would lie at -54 dB, and no mask takes it off again.
        """
        assert x_BICT.shape[1] == 1, f"a separator takes one input, not {x_BICT.shape[1]}"
        length = x_BICT.shape[-1]
        with torch.autocast(x_BICT.device.type, enabled=False):
            x_BCT = F.pad(x_BICT[:, 0].float(), (0, max(0, self.config.n_fft - length)))
            y_BSCT: Tensor = self.network(x_BCT)
            return y_BSCT[..., :length]

    def bodies(self) -> Iterator[nn.Module]:
        """Yield nothing: LSTMs and spectra leave no graph worth a compilation."""
        yield from ()

    def state_of(self, chosen: Sequence[int]) -> dict[str, Tensor]:
        """Return the state dict of this model with only the outputs `chosen`."""
        return {
            name: self._chosen(value, self._last[name], chosen)
            if name in self._last
            else value.clone()
            for name, value in self.state_dict().items()
        }

    def _chosen(self, value: Tensor, axis: int, chosen: Sequence[int]) -> Tensor:
        """Return a last layer's weight [..., S P, ...] with the rows of the chosen outputs."""
        index = torch.tensor(list(chosen), device=value.device)
        by_output = torch.unflatten(value, axis, (self.outputs, -1))
        return by_output.index_select(axis, index).flatten(axis, axis + 1)

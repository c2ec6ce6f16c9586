"""Conv-TasNet: waveforms on a learned basis, masked by a stack of dilated convolutions.

Luo & Mesgarani (2019), "Conv-TasNet: Surpassing Ideal Time-Frequency Magnitude Masking for Speech
Separation". The mask network is torchaudio's; with one audio channel the whole is torchaudio's
`ConvTasNet`, by the same names of weights.

The paper's model is mono. Here a filter of the basis spans all audio channels, and one mask serves
them, as Défossez et al. (2019, "Music Source Separation in the Waveform Domain") take it to stereo:
channels that were separated one by one could give left and right of one source to two outputs,
which nothing in a mixture-invariant loss forbids.

Tensors: B batch, I input waveforms (1), S outputs, C audio channels, T samples, N filters,
M frames.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.models.conv_tasnet import MaskGenerator

from training.models.conv_tasnet.config import ConvTasNetConfig
from training.models.separator import ChoosesOutputs

BY_OUTPUT = "mask_generator.output_conv."
"""What the names of those weights start with that have rows for each output."""


class ConvTasNet(ChoosesOutputs):
    """Conv-TasNet, non-causal; the published sizes are values of its config.

    It normalises no level: the mask network's first norm does, and masks scale with their input.
    """

    config: ConvTasNetConfig

    def __init__(self, config: ConvTasNetConfig) -> None:
        super().__init__(config)
        self.stride = config.filter_length // 2
        channels, filters, length = config.audio_channels, config.filters, config.filter_length
        self.encoder = nn.Conv1d(channels, filters, length, self.stride, self.stride, bias=False)
        self.mask_generator = MaskGenerator(
            input_dim=filters,
            num_sources=config.outputs,
            kernel_size=config.kernel,
            num_feats=config.bottleneck,
            num_hidden=config.hidden,
            num_layers=config.layers,
            num_stacks=config.repeats,
            msk_activate=config.mask,
        )
        self.decoder = nn.ConvTranspose1d(
            filters, channels, length, self.stride, self.stride, bias=False
        )

    def forward(self, x_BICT: Tensor) -> Tensor:
        """Separate float32 waveforms [B, 1, C, T] into float32 [B, S, C, T].

        Zeros are added at the end up to a whole number of frames, and their output is cut
        off. Basis and masking run in float32 even under autocast; only the mask network follows
        the caller's precision.
        """
        assert x_BICT.shape[1] == 1, f"a separator takes one input, not {x_BICT.shape[1]}"
        device, length = x_BICT.device.type, x_BICT.shape[-1]
        odd = self.config.filter_length % 2
        with torch.autocast(device, enabled=False):
            padded_BCT = F.pad(x_BICT[:, 0].float(), (0, -(length - odd) % self.stride))
            features_BNM = self.encoder(padded_BCT)
        mask_BSNM = self.mask_generator(features_BNM)
        with torch.autocast(device, enabled=False):
            masked_BSNM = mask_BSNM.float() * features_BNM.unsqueeze(1)
            y = self.decoder(masked_BSNM.flatten(0, 1))[..., :length]
            return torch.unflatten(y, 0, (-1, self.outputs))

    def frozen_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the mask network's parameters but those of its last layer, which make the masks."""
        for part in (self.mask_generator.input_norm, self.mask_generator.input_conv):
            yield from part.parameters()
        yield from self.mask_generator.conv_layers.parameters()

    def bodies(self) -> Iterator[nn.Module]:
        """Yield what may be compiled: the mask network."""
        yield self.mask_generator

    def state_of(self, chosen: Sequence[int]) -> dict[str, Tensor]:
        """Return the state dict of this model with only the outputs `chosen`."""
        index = torch.tensor(list(chosen), device=self.encoder.weight.device)
        return {
            # Rows are [S N, ...], output by output.
            name: torch.unflatten(value, 0, (self.outputs, -1)).index_select(0, index).flatten(0, 1)
            if name.startswith(BY_OUTPUT)
            else value.clone()
            for name, value in self.state_dict().items()
        }

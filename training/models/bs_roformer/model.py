"""BS-RoFormer: bands to tokens, transformers over frames and over bands, one mask per band.

Lu et al. (2023), "Music Source Separation with Band-Split RoPE Transformer", in the form of the
community's checkpoints, whose names of weights are kept: they load as they are.

Tensors: B batch, I input waveforms (1), S outputs, C audio channels, T samples, F bins, N frames,
K bands, D width, P = 2 the real and imaginary part. Tokens are [B, N, K, D] between blocks.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from training.models.bs_roformer.config import BsRoformerConfig
from training.models.bs_roformer.transformer import RMSNorm, Transformer
from training.models.separator import ChoosesOutputs, Recompute
from training.spectral import istft, stft

MASKS = "mask_estimators."
"""Beginning of the names of what is an output's own."""


class BandSplit(nn.Module):
    """Complex spectra to tokens: each band is normalised and mapped to D features."""

    def __init__(self, config: BsRoformerConfig) -> None:
        super().__init__()
        self.bands = config.bands
        sizes = [2 * config.audio_channels * bins for bins in config.bands]
        self.to_features = nn.ModuleList(
            nn.Sequential(RMSNorm(size), nn.Linear(size, config.width)) for size in sizes
        )

    def forward(self, spectrum_BNFCP: Tensor) -> Tensor:
        """Map spectra [B, N, F, C, P] to tokens [B, N, K, D]."""
        pieces = spectrum_BNFCP.split(self.bands, dim=2)
        tokens = zip(self.to_features, pieces, strict=True)
        return torch.stack([to_token(piece.flatten(2)) for to_token, piece in tokens], dim=2)


class MaskEstimator(nn.Module):
    """Tokens to one output's complex mask: per band, linear layers with a tanh between, a GLU."""

    def __init__(self, config: BsRoformerConfig) -> None:
        super().__init__()
        self.channels = config.audio_channels
        sizes = [2 * config.audio_channels * bins for bins in config.bands]
        self.to_freqs = nn.ModuleList(
            nn.Sequential(_mask_network(config, 2 * size), nn.GLU()) for size in sizes
        )

    def forward(self, x_BNKD: Tensor) -> Tensor:
        """Map tokens [B, N, K, D] to a mask [B, N, F, C, P]."""
        bands = zip(self.to_freqs, x_BNKD.unbind(2), strict=True)
        mask = torch.cat([to_mask(token) for to_mask, token in bands], dim=-1)
        return torch.unflatten(mask, -1, (-1, self.channels, 2))


def _mask_network(config: BsRoformerConfig, outputs: int) -> nn.Sequential:
    hidden = [config.mask_expansion * config.width] * (config.mask_layers - 1)
    sizes = [config.width, *hidden, outputs]
    steps: list[nn.Module] = []
    for inputs, results in pairwise(sizes):
        steps += [nn.Linear(inputs, results), nn.Tanh()]
    return nn.Sequential(*steps[:-1])


class BsRoformer(ChoosesOutputs):
    """BS-RoFormer; the published sizes are values of its config."""

    config: BsRoformerConfig

    def __init__(self, config: BsRoformerConfig) -> None:
        super().__init__(config)
        self.band_split = BandSplit(config)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [Transformer(config, config.time_layers), Transformer(config, config.band_layers)]
            )
            for _ in range(config.blocks)
        )
        self.final_norm = RMSNorm(config.width)
        self.mask_estimators = nn.ModuleList(MaskEstimator(config) for _ in range(config.outputs))

    def forward(self, x_BICT: Tensor) -> Tensor:
        """Separate float32 waveforms [B, 1, C, T] into float32 [B, S, C, T].

        Transforms and masking run in float32 even under autocast; only the network follows the
        caller's precision. No level is normalised: the norms of the band split do it.
        """
        assert x_BICT.shape[1] == 1, f"a separator takes one input, not {x_BICT.shape[1]}"
        n_fft, hop, device = self.config.n_fft, self.config.hop, x_BICT.device.type
        with torch.autocast(device, enabled=False):
            spectrum_BNFC = stft(x_BICT[:, 0].float(), n_fft, hop).permute(0, 3, 2, 1).contiguous()
        tokens_BNKD = self._refined(self.band_split(torch.view_as_real(spectrum_BNFC)))
        masks = [estimator(tokens_BNKD) for estimator in self.mask_estimators]
        with torch.autocast(device, enabled=False):
            mask_BSNFC = torch.view_as_complex(torch.stack(masks, dim=1).float())
            masked_BSNFC = mask_BSNFC * spectrum_BNFC.unsqueeze(1)
            return istft(masked_BSNFC.permute(0, 1, 4, 2, 3), n_fft, hop, x_BICT.shape[-1])

    def _refined(self, x_BNKD: Tensor) -> Tensor:
        batch, frames = x_BNKD.shape[:2]
        earlier: list[Tensor] = []
        for over_frames, over_bands in cast(Iterable[Sequence[Transformer]], self.layers):
            for block in earlier:
                x_BNKD = x_BNKD + block
            x = over_frames(x_BNKD.transpose(1, 2).flatten(0, 1))
            x_BNKD = torch.unflatten(x, 0, (batch, -1)).transpose(1, 2)
            x_BNKD = torch.unflatten(over_bands(x_BNKD.flatten(0, 1)), 0, (batch, frames))
            if self.config.dense_skips:
                earlier.append(x_BNKD)
        refined: Tensor = self.final_norm(x_BNKD)
        return refined

    def frozen_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters between band split and masks: the transformers and the last norm."""
        yield from self.layers.parameters()
        yield from self.final_norm.parameters()

    def bodies(self) -> Iterator[nn.Module]:
        """Yield what may be compiled, one at a time: band split, transformers, mask estimators."""
        yield self.band_split
        yield from (part for part in self.modules() if isinstance(part, Transformer))
        yield from self.mask_estimators

    def set_recompute(self, mode: Recompute) -> None:
        """Compute activations of transformer layers again in the backward pass, or keep them.

        `nothing` keeps all; `cheap` keeps results of matrix products; `everything` keeps only
        layers' inputs.
        """
        for part in self.modules():
            if isinstance(part, Transformer):
                part.recompute = mode

    def state_of(self, chosen: Sequence[int]) -> dict[str, Tensor]:
        """Return the state dict of this model with only the outputs `chosen`."""
        own = self.state_dict()
        state = {name: it.clone() for name, it in own.items() if not name.startswith(MASKS)}
        for number, output in enumerate(chosen):
            beginning = f"{MASKS}{output}."
            for name, value in own.items():
                if name.startswith(beginning):
                    inner = name.removeprefix(beginning)
                    state[f"{MASKS}{number}.{inner}"] = value.clone()
        return state

"""The band table, the band-split encoder and the band-wise mask decoder.

Bands of one width are adjacent and share a stacked weight, so that an encoder or decoder is a
handful of batched matrix products and not hundreds of small ones.

Tensors: B batch, S outputs, C audio channels, F bins, K bands, N frames, D width; G the bands of
one group (equal width W in bins), P = 2 the real and imaginary part, L = B * N tokens of one band,
i the inputs of a layer.
"""

import math
from itertools import groupby
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.models.bs_locoformer.config import BsLocoformerConfig
from training.models.bs_locoformer.memory_efficient_ops import masked_spectra

RANGES = ((1_000, 2), (1_000, 4), (2_000, 12), (4_000, 24), (8_000, 48))
"""(span in Hz, band width in bins) from the bottom up (Saijo & Ogawa 2025, after BS-RoFormer)."""

OUTPUT_AXIS = 2
"""The axis of S in the decoder's last weights [G, 2, S, C, W, P, 4D] and biases."""


class BandGroup(NamedTuple):
    """`bands` adjacent bands of `width` bins each."""

    bands: int
    width: int


def band_widths(n_fft: int, sample_rate: int) -> tuple[int, ...]:
    """Return each band's width in bins, lowest first; they add up to n_fft // 2 + 1.

    What lies above 16 kHz is cut in two, or in four above 44.1 kHz, as the authors' presets do.
    """
    remaining = n_fft // 2 + 1
    bin_hz = sample_rate / 2 / remaining
    widths: list[int] = []
    for span, width in RANGES:
        for _ in range(math.ceil(span / (width * bin_hz))):
            widths.append(min(width, remaining))
            remaining -= widths[-1]
    parts = 2 if sample_rate <= 44_100 else 4
    widths += [remaining * (i + 1) // parts - remaining * i // parts for i in range(parts)]
    return tuple(width for width in widths if width)


def band_groups(n_fft: int, sample_rate: int) -> list[BandGroup]:
    """Return the band table as runs of adjacent bands of equal width."""
    return [
        BandGroup(len(list(run)), width) for width, run in groupby(band_widths(n_fft, sample_rate))
    ]


class BandNorm(nn.Module):
    """GroupNorm(1) of each of G bands: statistics over a band's features and all frames jointly."""

    def __init__(self, bands: int, features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(bands, 1, 1, features))
        self.bias = nn.Parameter(torch.zeros(bands, 1, 1, features))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [G, B, N, features] in float32."""
        with torch.autocast(x.device.type, enabled=False):
            x = F.layer_norm(x.float(), x.shape[-2:], eps=self.eps)
            return torch.addcmul(self.bias, x, self.weight)


class BandLinear(nn.Module):
    """One linear map per band, initialised as PyTorch does linear layers and 1x1 convolutions."""

    def __init__(self, bands: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = _uniform((bands, outputs, inputs), inputs)
        self.bias = _uniform((bands, outputs), inputs)

    def forward(self, x_GLi: Tensor) -> Tensor:
        """Map [G, L, inputs] to [G, L, outputs]."""
        return torch.baddbmm(self.bias.unsqueeze(1), x_GLi, self.weight.mT)


class BandEncoder(nn.Module):
    """Complex spectra to tokens: per band, normalise and map to D (BS-RoFormer's band split)."""

    def __init__(self, groups: list[BandGroup], audio_channels: int, width: int) -> None:
        super().__init__()
        self.groups = groups
        features = [2 * audio_channels * group.width for group in groups]
        self.norms = nn.ModuleList(
            BandNorm(group.bands, size) for group, size in zip(groups, features, strict=True)
        )
        self.maps = nn.ModuleList(
            BandLinear(group.bands, size, width)
            for group, size in zip(groups, features, strict=True)
        )

    def forward(self, spectrum_BCNFP: Tensor) -> Tensor:
        """Encode spectra [B, C, N, F, P] as tokens [B, N, K, D]."""
        batch, _, frames = spectrum_BCNFP.shape[:3]
        # A bin's features are (Re ch0, Re ch1, Im ch0, Im ch1), the authors' order.
        parts_FBNPC = spectrum_BCNFP.permute(3, 0, 2, 4, 1)
        slices = torch.split(parts_FBNPC, [group.bands * group.width for group in self.groups])
        tokens = []
        for group, norm, linear, piece in zip(
            self.groups, self.norms, self.maps, slices, strict=True
        ):
            x = torch.unflatten(piece, 0, tuple(group)).permute(0, 2, 3, 1, 4, 5).flatten(3)
            tokens.append(linear(norm(x).flatten(1, 2)))
        tokens_KBND = torch.unflatten(torch.cat(tokens), 1, (batch, frames))
        return tokens_KBND.permute(1, 2, 0, 3).contiguous()


class BandDecoder(nn.Module):
    """Tokens to complex masks, applied: per band, normalise, three linear layers and a GLU.

    Which of the two hidden layers end in a tanh is the config's `decoder_tanh`: the authors have
    published all three forms, with equal parameters. The last weights keep every meaning on its own
    axis, [G, gate, S, C, W, P, 4D], so that choosing outputs is one `index_select` on
    `OUTPUT_AXIS`, and real and imaginary part come out side by side, as complex numbers lie in
    memory.
    """

    def __init__(self, groups: list[BandGroup], config: BsLocoformerConfig) -> None:
        super().__init__()
        bands, width, inner = sum(group.bands for group in groups), config.width, 4 * config.width
        self.groups, self.tanh = groups, config.decoder_tanh
        self.norm = BandNorm(bands, width)
        self.first = BandLinear(bands, width, inner)
        self.second = BandLinear(bands, inner, inner)
        shapes = [(n, 2, config.outputs, config.audio_channels, bins, 2) for n, bins in groups]
        self.last_weights = nn.ParameterList(_uniform((*shape, inner), inner) for shape in shapes)
        self.last_biases = nn.ParameterList(_uniform(shape, inner) for shape in shapes)

    def forward(self, z_BNKD: Tensor, spectrum_BCNFP: Tensor) -> Tensor:
        """Decode tokens [B, N, K, D] to masks and apply them: float32 [B, S, C, N, F, P]."""
        x_KLi = self.first(self.norm(z_BNKD.permute(2, 0, 1, 3)).flatten(1, 2))
        if self.tanh != "second":
            x_KLi = torch.tanh(x_KLi)
        x_KLi = self.second(x_KLi)
        if self.tanh != "first":
            x_KLi = torch.tanh(x_KLi)
        pieces = torch.split(x_KLi, [group.bands for group in self.groups])
        flats = [
            torch.baddbmm(bias.flatten(1).unsqueeze(1), x_GLi, weight.flatten(1, -2).mT)
            for x_GLi, weight, bias in zip(pieces, self.last_weights, self.last_biases, strict=True)
        ]
        shapes = [tuple(bias.shape[OUTPUT_AXIS:-1]) for bias in self.last_biases]
        return masked_spectra(spectrum_BCNFP, flats, shapes)


def _uniform(shape: tuple[int, ...], fan_in: int) -> nn.Parameter:
    """PyTorch's default for weights and biases of linear layers: U(-1/sqrt(fan_in), ...)."""
    bound = 1 / math.sqrt(fan_in)
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))

"""BS-Locoformer: band-split encoder, TF-Locoformer blocks without positions, band-wise masks.

Saijo & Bando, "Is MixIT Really Unsuitable for Correlated Sources? Exploring MixIT for
Unsupervised Pre-training in Music Source Separation" (2025), section 4.2; the blocks are those of
Saijo et al., "TF-Locoformer" (2024), without positional encoding (Saijo & Ogawa 2025). Where paper
and authors' code differ the code is followed: full residuals around both feed-forward networks.

Tensors: B batch, I input waveforms (1), S outputs, C audio channels, T samples, F bins, K bands,
N frames, D width, H heads, A sequences, L tokens of a sequence. Tokens are [B, N, K, D] throughout.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from storage.errors import ConfigError
from training.models.attention import attend, recomputed
from training.models.bs_locoformer.bands import OUTPUT_AXIS, BandDecoder, BandEncoder, band_groups
from training.models.bs_locoformer.config import BsLocoformerConfig
from training.models.bs_locoformer.memory_efficient_ops import rms_normalise, swiglu
from training.models.separator import ChoosesOutputs, Recompute
from training.spectral import istft, kept_frames, spectral_rms, stft

TIME_AXIS, BAND_AXIS = 1, 2
"""Where frames and bands lie in tokens [B, N, K, D]."""


class RMSGroupNorm(nn.Module):
    """Divide each group of a token's features by its RMS, then scale (TF-Locoformer, section 2.3).

    y = x_g / (||x_g|| / sqrt(d) + eps) * gamma, in float32 whatever the autocast.
    """

    def __init__(self, width: int, groups: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.groups, self.eps = groups, eps
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [..., D]; the result is in the autocast dtype."""
        return rms_normalise(x, self.gamma, self.groups, self.eps)


class ConvSwiGLU(nn.Module):
    """Feed-forward network of two convolutions around a SwiGLU (TF-Locoformer, section 2.2).

    The published form pads K - 1 zeros on both sides, convolves, gates, convolves transposed and
    crops K - 1 on both sides. At stride 1 the last two steps are one valid convolution with the
    kernel reversed. Both run as 2-D convolutions over channels-last tokens: no axis ever moves.
    """

    def __init__(self, config: BsLocoformerConfig, axis: int) -> None:
        super().__init__()
        width, hidden, kernel = config.width, config.hidden, config.kernel
        size = (1, kernel) if axis == BAND_AXIS else (kernel, 1)
        padding = (0, kernel - 1) if axis == BAND_AXIS else (kernel - 1, 0)
        self.expand = nn.Conv2d(width, 2 * hidden, size, padding=padding)
        self.contract = nn.Conv2d(hidden, width, size)
        self.dropout = nn.Dropout(config.dropout)
        # A transposed convolution counts its fan-in on the output side: start as published.
        bound = 1 / math.sqrt(width * kernel)
        for parameter in self.contract.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x_BNKD: Tensor) -> Tensor:
        """Map tokens [B, N, K, D] to the same shape, mixing K - 1 neighbours on either side."""
        # As NCHW, tokens are channels-last already, and stay so through both convolutions.
        both = self.expand(x_BNKD.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        hidden = self.dropout(swiglu(both))
        mixed: Tensor = self.contract(hidden.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.dropout(mixed)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Multi-head self-attention along one axis, without positions and without biases."""

    def __init__(self, config: BsLocoformerConfig, axis: int) -> None:
        super().__init__()
        self.axis, self.heads, self.rate = axis, config.heads, config.dropout
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.merge = nn.Linear(config.width, config.width, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BNKD: Tensor) -> Tensor:
        """Attend among the frames of each band, or the bands of each frame; shape unchanged."""
        x = self.qkv(x_BNKD)
        if self.axis == TIME_AXIS:
            x = x.transpose(1, 2)
        outer = x.shape[:2]
        qkv = torch.unflatten(x.flatten(0, 1), -1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind()
        y_AHLd = attend(query, key, value, self.rate if self.training else 0.0)
        y = torch.unflatten(y_AHLd.transpose(1, 2).flatten(-2), 0, outer)
        if self.axis == TIME_AXIS:
            y = y.transpose(1, 2)
        merged: Tensor = self.dropout(self.merge(y))
        return merged


class Path(nn.Module):
    """Feed-forward, attention, feed-forward along one axis; all pre-norm, all full residuals."""

    def __init__(self, config: BsLocoformerConfig, axis: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(RMSGroupNorm(config.width, config.groups) for _ in range(3))
        self.steps = nn.ModuleList(
            [ConvSwiGLU(config, axis), Attention(config, axis), ConvSwiGLU(config, axis)]
        )
        self.recompute: Recompute = "nothing"

    def forward(self, x_BNKD: Tensor) -> Tensor:
        """Refine tokens [B, N, K, D]."""
        return recomputed(self._refine, x_BNKD, mode=self.recompute)

    def _refine(self, x_BNKD: Tensor) -> Tensor:
        for norm, step in zip(self.norms, self.steps, strict=True):
            x_BNKD = x_BNKD + step(norm(x_BNKD))
        return x_BNKD


class BsLocoformer(ChoosesOutputs):
    """BS-Locoformer; small, medium and large are values of its config (paper, Table 1).

    Raises:
        ConfigError: the hop is too large for the window to be inverted at every sample.
    """

    config: BsLocoformerConfig

    def __init__(self, config: BsLocoformerConfig) -> None:
        super().__init__(config)
        if config.hop > config.n_fft // 3:
            raise ConfigError(
                f"hop = {config.hop}: the inverse transform needs overlapping windows; "
                f"set at most n_fft // 3 = {config.n_fft // 3}"
            )
        groups = band_groups(config.n_fft, config.sample_rate)
        self.encoder = BandEncoder(groups, config.audio_channels, config.width)
        self.blocks = nn.ModuleList(
            nn.Sequential(Path(config, BAND_AXIS), Path(config, TIME_AXIS))
            for _ in range(config.blocks)
        )
        self.decoder = BandDecoder(groups, config)

    def forward(self, x_BICT: Tensor) -> Tensor:
        """Separate float32 waveforms [B, 1, C, T] into float32 [B, S, C, T].

        The transforms and the masking run in float32 even under autocast; only the network body
        follows the caller's precision.
        """
        assert x_BICT.shape[1] == 1, f"a separator takes one input, not {x_BICT.shape[1]}"
        n_fft, hop = self.config.n_fft, self.config.hop
        device, length = x_BICT.device.type, x_BICT.shape[-1]
        with torch.autocast(device, enabled=False):
            spectrum_BCFN = stft(x_BICT[:, 0].float(), n_fft, hop)
            level_BC = spectral_rms(spectrum_BCFN)
            kept = kept_frames(max(length, n_fft), n_fft, hop, self.config.keep_last_frame)
            scaled_BCNF = spectrum_BCFN.mT[:, :, :kept] / level_BC[..., None, None]
            scaled_BCNFP = torch.view_as_real(scaled_BCNF.contiguous())
        tokens_BNKD = self.encoder(scaled_BCNFP)
        for block in self.blocks:
            tokens_BNKD = block(tokens_BNKD)
        estimate_BSCNFP = self.decoder(tokens_BNKD, scaled_BCNFP)
        with torch.autocast(device, enabled=False):
            y_BSCT = istft(torch.view_as_complex(estimate_BSCNFP), n_fft, hop, length)
            return y_BSCT * level_BC[:, None, :, None]

    def bodies(self) -> Iterator[nn.Module]:
        """Yield what may be compiled: encoder, each path, decoder."""
        yield self.encoder
        yield from (module for module in self.modules() if isinstance(module, Path))
        yield self.decoder

    def set_recompute(self, mode: Recompute) -> None:
        """Choose what the backward pass recomputes, path by path."""
        for module in self.modules():
            if isinstance(module, Path):
                module.recompute = mode

    def frozen_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of the blocks, neither encoder nor decoder."""
        return self.blocks.parameters()

    def state_of(self, chosen: Sequence[int]) -> dict[str, Tensor]:
        """Return the state dict of this model with only the outputs `chosen`."""
        index = torch.tensor(list(chosen), device=next(self.parameters()).device)
        return {
            name: value.index_select(OUTPUT_AXIS, index)
            if name.startswith("decoder.last_")
            else value.clone()
            for name, value in self.state_dict().items()
        }

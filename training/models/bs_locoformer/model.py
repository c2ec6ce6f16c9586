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
from functools import partial
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from storage.errors import ConfigError
from training.models.bs_locoformer.bands import OUTPUT_AXIS, BandDecoder, BandEncoder, band_groups
from training.models.bs_locoformer.config import BsLocoformerConfig
from training.models.bs_locoformer.memory_efficient_ops import rms_normalise, swiglu
from training.models.separator import Recompute, Separator
from training.spectral import istft, kept_frames, spectral_rms, stft

TIME_AXIS, BAND_AXIS = 1, 2
"""Where frames and bands lie in tokens [B, N, K, D]."""

SEQUENCES_AT_ONCE = 65_535
"""Most sequences of one attention call: CUDA's kernels lay them along a grid's y or z axis."""


aten = torch.ops.aten
KEPT = [
    aten.convolution.default,
    aten.mm.default,
    aten._scaled_dot_product_flash_attention.default,
    aten._scaled_dot_product_efficient_attention.default,
    aten._scaled_dot_product_cudnn_attention.default,
    aten._scaled_dot_product_flash_attention_for_cpu.default,
]
"""What `recompute = "cheap"` does not compute twice; norms, gates and dropout it does."""


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
        y_AHLd = self._attend(qkv)
        y = torch.unflatten(y_AHLd.transpose(1, 2).flatten(-2), 0, outer)
        if self.axis == TIME_AXIS:
            y = y.transpose(1, 2)
        merged: Tensor = self.dropout(self.merge(y))
        return merged

    def _attend(self, qkv_3AHLd: Tensor) -> Tensor:
        calls = -(-qkv_3AHLd.shape[1] // SEQUENCES_AT_ONCE)
        pieces = [self._attend_at_once(part) for part in qkv_3AHLd.chunk(calls, dim=1)]
        return pieces[0] if calls == 1 else torch.cat(pieces)

    def _attend_at_once(self, qkv_3AHLd: Tensor) -> Tensor:
        rate = self.rate if self.training else 0.0
        if qkv_3AHLd.is_cuda:
            query, key, value = qkv_3AHLd.unbind()
            return F.scaled_dot_product_attention(query, key, value, dropout_p=rate)
        # On CPU the fused kernel's bfloat16 gradient takes twice as long as its float32 one.
        with torch.autocast(qkv_3AHLd.device.type, enabled=False):
            query, key, value = qkv_3AHLd.float().unbind()
            return F.scaled_dot_product_attention(query, key, value, dropout_p=rate)


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
        if self.recompute == "nothing" or not torch.is_grad_enabled():
            return self._refine(x_BNKD)
        kept = KEPT if self.recompute == "cheap" else []
        refined: Tensor = checkpoint(
            self._refine,
            x_BNKD,
            use_reentrant=False,
            context_fn=partial(create_selective_checkpoint_contexts, kept),
        )
        return refined

    def _refine(self, x_BNKD: Tensor) -> Tensor:
        for norm, step in zip(self.norms, self.steps, strict=True):
            x_BNKD = x_BNKD + step(norm(x_BNKD))
        return x_BNKD


class BsLocoformer(Separator):
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
        """Choose what the backward pass computes anew, path by path."""
        for module in self.modules():
            if isinstance(module, Path):
                module.recompute = mode

    def frozen_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of the blocks, neither encoder nor decoder."""
        return self.blocks.parameters()

    def with_outputs(self, chosen: Sequence[int]) -> Self:
        """Return a new model whose output s is output `chosen[s]` of this one; nothing is shared.

        Raises:
            ConfigError: `chosen` is empty or names an output that does not exist.
        """
        if not chosen or not all(0 <= output < self.outputs for output in chosen):
            raise ConfigError(
                f"chosen outputs {list(chosen)}: choose one or more of 0 to {self.outputs - 1}"
            )
        device = next(self.parameters()).device
        index = torch.tensor(list(chosen), device=device)
        state = {
            name: value.index_select(OUTPUT_AXIS, index)
            if name.startswith("decoder.last_")
            else value.clone()
            for name, value in self.state_dict().items()
        }
        # On the meta device nothing is drawn: choosing outputs leaves the random state alone.
        with torch.device("meta"):
            model = type(self)(self.config.model_copy(update={"outputs": len(chosen)}))
        model.load_state_dict(state, assign=True)
        return model.train(self.training)

"""The transformer of BS-RoFormer: gated attention with rotary positions, and feed-forward.

Lu et al. (2023), RoPE transformer blocks; the gate on each head and the RMS norms are those of the
community's form, whose names of weights are kept.

Tensors: A sequences, L tokens of a sequence, D width, H heads, d features of a head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.models.attention import attend, recomputed
from training.models.bs_roformer.config import FEED_FORWARD, BsRoformerConfig
from training.models.separator import Recompute

NORM_EPS = 1e-24
"""Added to a mean square before its root: what is not digital silence is far above it."""

ROTARY_BASE = 10_000.0
"""Positions turn the slowest pair of features this many times more slowly than the fastest."""


class RMSNorm(nn.Module):
    """Divide a token's features by their root mean square, then scale; float32 whatever the
    autocast."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [..., D] to float32 [..., D]."""
        with torch.autocast(x.device.type, enabled=False):
            return F.rms_norm(x.float(), self.gamma.shape, self.gamma, NORM_EPS)


class Rotary(nn.Module):
    """Rotary positions: pair i of a head's features is turned by position * base^(-2i / d)."""

    freqs: Tensor

    def __init__(self, head_width: int) -> None:
        super().__init__()
        exponents = torch.arange(0, head_width, 2) / head_width
        # Every attention has its own copy: weights at rest may not share memory.
        self.register_buffer("freqs", ROTARY_BASE**-exponents)

    def forward(self, x_AHLd: Tensor) -> Tensor:
        """Turn the neighbouring pairs of queries or keys [A, H, L, d]; shape and dtype stay."""
        with torch.autocast(x_AHLd.device.type, enabled=False):
            positions = torch.arange(x_AHLd.shape[-2], device=x_AHLd.device, dtype=torch.float32)
            angles = positions[:, None] * self.freqs
            cosine, sine = angles.cos(), angles.sin()
            first, second = torch.unflatten(x_AHLd.float(), -1, (-1, 2)).unbind(-1)
            turned = (first * cosine - second * sine, second * cosine + first * sine)
            return torch.stack(turned, dim=-1).flatten(-2).to(x_AHLd.dtype)


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions; each head's result passes a gate."""

    def __init__(self, config: BsRoformerConfig) -> None:
        super().__init__()
        inner = config.heads * config.head_width
        self.heads, self.rate = config.heads, config.attention_dropout
        self.norm = RMSNorm(config.width)
        self.rotary_embed = Rotary(config.head_width)
        self.to_qkv = nn.Linear(config.width, 3 * inner, bias=False)
        self.to_gates = nn.Linear(config.width, config.heads)
        self.to_out = nn.Sequential(
            nn.Linear(inner, config.width, bias=False), nn.Dropout(config.attention_dropout)
        )

    def forward(self, x_ALD: Tensor) -> Tensor:
        """Attend among the tokens of each sequence [A, L, D]; shape unchanged."""
        x_ALD = self.norm(x_ALD)
        qkv = torch.unflatten(self.to_qkv(x_ALD), -1, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind()
        query, key = self.rotary_embed(query), self.rotary_embed(key)
        mixed_AHLd = attend(query, key, value, self.rate if self.training else 0.0)
        gates_ALH1 = self.to_gates(x_ALD).sigmoid().unsqueeze(-1)
        merged: Tensor = self.to_out((mixed_AHLd.transpose(1, 2) * gates_ALH1).flatten(-2))
        return merged


class FeedForward(nn.Module):
    """Normalise, expand, GELU, contract."""

    def __init__(self, config: BsRoformerConfig) -> None:
        super().__init__()
        hidden = FEED_FORWARD * config.width
        self.net = nn.Sequential(
            RMSNorm(config.width),
            nn.Linear(config.width, hidden),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, config.width),
            nn.Dropout(config.dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., D] to [..., D]."""
        mapped: Tensor = self.net(x)
        return mapped


class Transformer(nn.Module):
    """Layers of attention and feed-forward along one axis, pre-norm, with residuals."""

    def __init__(self, config: BsRoformerConfig, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([Attention(config), FeedForward(config)]) for _ in range(layers)
        )
        self.recompute: Recompute = "nothing"

    def forward(self, x_ALD: Tensor) -> Tensor:
        """Refine the tokens of each sequence [A, L, D]."""
        for layer in self.layers:
            x_ALD = recomputed(_refine, layer, x_ALD, mode=self.recompute)
        return x_ALD


def _refine(layer: nn.ModuleList, x_ALD: Tensor) -> Tensor:
    for step in layer:
        x_ALD = step(x_ALD) + x_ALD
    return x_ALD

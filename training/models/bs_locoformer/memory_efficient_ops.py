"""Operations that keep, for the backward pass, no more than they must, and write each value once.

Autograd's own chains of these formulas keep several copies of their operands, which are the
largest tensors of the model. `torch.compile` fuses the plain formulas: there those run.

Tensors: B batch, S outputs, C audio channels, F bins, N frames, P = 2 the real and imaginary part;
G the bands of one group (equal width W in bins), L = B * N tokens of one band, H hidden features.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SILU_BACKWARD = torch.ops.aten.silu_backward


def rms_normalise(x: Tensor, gamma: Tensor, groups: int, eps: float) -> Tensor:
    """Divide each of `groups` parts of the last axis by (its RMS + eps), then scale by gamma.

    Computed in float32; the result is in the autocast dtype, to which the next product would cast
    it. Of the operands only `x` is kept. At x = 0 the subgradient 0 is taken.
    """
    kind = x.device.type
    autocast = torch.is_autocast_enabled(kind)
    dtype = torch.get_autocast_dtype(kind) if autocast else torch.float32
    if torch.compiler.is_compiling():
        grouped = torch.unflatten(x.float(), -1, (groups, -1))
        rms = torch.linalg.vector_norm(grouped, dim=-1, keepdim=True) / math.sqrt(grouped.shape[-1])
        plain: Tensor = ((grouped / (rms + eps)).flatten(-2) * gamma).to(dtype)
        return plain
    normalised: Tensor = _RmsNormalise.apply(x, gamma, groups, eps, dtype)  # type: ignore[no-untyped-call]
    return normalised


def swiglu(x: Tensor) -> Tensor:
    """Return value * silu(gate) of [..., 2H], the values first; [..., H]. Only `x` is kept."""
    if torch.compiler.is_compiling():
        value, gate = x.chunk(2, dim=-1)
        product: Tensor = value * F.silu(gate)
        return product
    gated: Tensor = _SwiGlu.apply(x)  # type: ignore[no-untyped-call]
    return gated


def masked_spectra(
    spectrum_BCNFP: Tensor, flats: Sequence[Tensor], shapes: Sequence[tuple[int, ...]]
) -> Tensor:
    """Gate the band masks and apply them to a spectrum: float32 [B, S, C, N, F, P].

    `flats` holds per group of bands [G, L, 2 S C W P], values then gates; `shapes` its (S, C, W).
    The spectrum gets no gradient. Nothing is kept but `flats` and the spectrum.
    """
    if not torch.compiler.is_compiling():
        masked: Tensor = _Masked.apply(spectrum_BCNFP, tuple(shapes), *flats)  # type: ignore[no-untyped-call]
        return masked
    batch, _, frames = spectrum_BCNFP.shape[:3]
    masks = []
    for flat, (outputs, channels, width) in zip(flats, shapes, strict=True):
        mask = F.glu(flat).view(-1, batch, frames, outputs, channels, width, 2)
        masks.append(mask.permute(1, 3, 4, 2, 0, 5, 6).flatten(-3, -2))
    real, imaginary = torch.cat(masks, -2).float().unbind(-1)
    there, across = spectrum_BCNFP.unsqueeze(1).unbind(-1)
    return torch.stack(
        [real * there - imaginary * across, real * across + imaginary * there], dim=-1
    )


class _RmsNormalise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, groups: int, eps: float, dtype: torch.dtype
    ) -> Tensor:
        grouped = torch.unflatten(x.float(), -1, (groups, -1))
        rms = torch.linalg.vector_norm(grouped, dim=-1, keepdim=True) / math.sqrt(grouped.shape[-1])
        ctx.save_for_backward(x, gamma, rms)
        ctx.eps = eps
        normalised: Tensor = ((grouped / (rms + eps)).flatten(-2) * gamma).to(dtype)
        return normalised

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, gamma, rms = ctx.saved_tensors
        grouped = torch.unflatten(x.float(), -1, (rms.shape[-2], -1))
        gradient = gradients[0].float()
        inverse = (rms + ctx.eps).reciprocal()
        normalised = grouped * inverse
        gamma_gradient = (gradient * normalised.flatten(-2)).flatten(0, -2).sum(0)
        pulled = torch.unflatten(gradient * gamma, -1, (rms.shape[-2], -1))
        # d rms / d x = x / (d rms), so the part along x shrinks by rms / (rms + eps).
        along = (pulled * grouped).mean(-1, keepdim=True) * inverse
        along = along / rms.clamp_min(torch.finfo(rms.dtype).tiny)
        x_gradient = pulled * inverse - normalised * along
        return x_gradient.flatten(-2).to(x.dtype), gamma_gradient, None, None, None


class _SwiGlu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        value, gate = x.chunk(2, dim=-1)
        opened: Tensor = F.silu(gate)
        return opened.mul_(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        value, gate = x.chunk(2, dim=-1)
        both = torch.empty_like(x)
        into_value, into_gate = both.chunk(2, dim=-1)
        torch.mul(gradients[0], F.silu(gate), out=into_value)
        SILU_BACKWARD.grad_input(gradients[0] * value, gate, grad_input=into_gate)
        return both


class _Masked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, spectrum_BCNFP: Tensor, shapes: tuple[tuple[int, ...], ...], *flats: Tensor
    ) -> Tensor:
        batch, channels, *rest = spectrum_BCNFP.shape
        masked = spectrum_BCNFP.new_empty(batch, shapes[0][0], channels, *rest)
        for flat, shape, part in _parts(masked, flats, shapes):
            value, gate = _halves(flat, batch, shape)
            torch.mul(value, torch.sigmoid(gate), out=part)
        spectrum = torch.view_as_complex(spectrum_BCNFP).unsqueeze(1)
        torch.view_as_complex(masked).mul_(spectrum)
        ctx.save_for_backward(spectrum, *flats)
        ctx.shapes = shapes
        return masked

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        spectrum, *flats = ctx.saved_tensors
        batch = len(spectrum)
        pulled = torch.view_as_complex(gradients[0].contiguous()) * spectrum.conj()
        flat_gradients = []
        for flat, shape, part in _parts(torch.view_as_real(pulled), flats, ctx.shapes):
            value, gate = _halves(flat, batch, shape)
            both = torch.empty_like(flat)
            into_value, into_gate = _halves(both, batch, shape)
            opened = torch.sigmoid(gate)
            torch.mul(part, opened, out=into_value)
            # d (v s) / d gate = v s (1 - s)
            torch.mul(into_value * value, opened.neg_().add_(1), out=into_gate)
            flat_gradients.append(both)
        return None, None, *flat_gradients


def _parts(
    whole: Tensor, flats: Sequence[Tensor], shapes: Sequence[tuple[int, ...]]
) -> list[tuple[Tensor, tuple[int, ...], Tensor]]:
    """Pair each group's tensor with its bins of [B, S, C, N, F, P], as [G, B, N, S, C, W, P]."""
    slices = torch.split(
        whole, [len(flat) * shape[-1] for flat, shape in zip(flats, shapes, strict=True)], dim=-2
    )
    return [
        (
            flat,
            shape,
            torch.unflatten(piece, -2, (len(flat), shape[-1])).permute(4, 0, 3, 1, 2, 5, 6),
        )
        for flat, shape, piece in zip(flats, shapes, slices, strict=True)
    ]


def _halves(flat: Tensor, batch: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return values and gates of [G, L, 2 S C W P], each as [G, B, N, S, C, W, P]."""
    value, gate = flat.view(len(flat), batch, -1, 2, *shape, 2).unbind(3)
    return value, gate

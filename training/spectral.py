"""Short-time Fourier transform and its inverse, and the RMS of a spectrum.

Periodic Hann window as long as the transform, centred frames, reflected edges, one-sided and
unnormalised: the conventions of the authors' code (Saijo & Bando 2025, section 4.2).

Tensors: B batch, S outputs, C audio channels, T samples, F bins, N frames.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

POWER_FLOOR = 1e-15
"""Least mean |X|^2 to divide by, so that digital silence stays silence."""

ENVELOPE_FLOOR = 1e-4
"""Least squared window at the last sample for which the last frame may be dropped."""


def stft(x: Tensor, n_fft: int, hop: int) -> Tensor:
    """Transform waveforms [..., T] to complex [..., F, N], F = n_fft // 2 + 1, N = 1 + T' // hop.

    T' is T, or n_fft for anything shorter, which is first padded with zeros: an edge can be
    reflected only into a signal longer than half a window.
    """
    x = F.pad(x, (0, max(0, n_fft - x.shape[-1])))
    window = torch.hann_window(n_fft, device=x.device, dtype=x.dtype)
    frames = torch.stft(
        x.flatten(0, -2), n_fft, hop, window=window, pad_mode="reflect", return_complex=True
    )
    return torch.unflatten(frames, 0, x.shape[:-1])


def istft(spectrum: Tensor, n_fft: int, hop: int, length: int) -> Tensor:
    """Transform complex [..., N, F] back to waveforms [..., length]; the inverse of `stft`.

    Frames come before bins: so the transform runs over adjacent values. Every sample must lie
    under a window, which `kept_frames` sees to.
    """
    frames = torch.fft.irfft(spectrum, n_fft)
    window = torch.hann_window(n_fft, device=frames.device, dtype=frames.dtype)
    envelope = _overlap_add(window.expand(frames.shape[-2], -1), window, hop)
    added = _overlap_add(frames, window, hop)
    kept = slice(n_fft // 2, n_fft // 2 + length)
    waveform: Tensor = added[..., kept] / envelope[kept]
    return waveform


def _overlap_add(frames: Tensor, window: Tensor, hop: int) -> Tensor:
    added: Tensor = _OverlapAdd.apply(frames, window, hop)  # type: ignore[no-untyped-call]
    return added


class _OverlapAdd(torch.autograd.Function):
    """Windowed frames [..., N, n_fft] to their sum, `hop` apart; the windows' product is not kept.

    `torch.istft` adds by `unfold_backward`, which on a CPU takes as long as the transform itself.
    """

    @staticmethod
    def forward(ctx: Any, frames: Tensor, window: Tensor, hop: int) -> Tensor:
        *outer, count, n_fft = frames.shape
        ctx.save_for_backward(window)
        ctx.hop = hop
        parts = -(-n_fft // hop)
        added = frames.new_zeros(*outer, count + parts - 1, hop)
        for part in range(parts):
            inside = slice(part * hop, min((part + 1) * hop, n_fft))
            into = added[..., part : part + count, : inside.stop - inside.start]
            into.addcmul_(frames[..., inside], window[inside])
        return added.flatten(-2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (window,) = ctx.saved_tensors
        return gradients[0].unfold(-1, len(window), ctx.hop) * window, None, None


def spectral_rms(spectrum: Tensor) -> Tensor:
    """Return sqrt(mean |X|^2) over bins and frames of complex [..., F, N], as [...]."""
    bins, frames = spectrum.shape[-2:]
    norm = torch.linalg.vector_norm(torch.view_as_real(spectrum), dim=(-3, -2, -1))
    power: Tensor = norm.square() / (bins * frames)
    return power.clamp_min(POWER_FLOOR).sqrt()


def kept_frames(samples: int, n_fft: int, hop: int, keep_last: bool) -> int:
    """Return how many of the frames of `samples` samples (T' of `stft`) the network sees.

    The authors drop the last frame. That leaves the final samples to the tail of one window; the
    inverse divides by its square, so where that would all but vanish the frame stays after all.
    """
    whole = samples // hop
    beyond = (samples - 1 - (whole - 1) * hop) / n_fft
    envelope = math.cos(math.pi * beyond) ** 4 if beyond < 0.5 else 0.0
    return whole if envelope >= ENVELOPE_FLOOR and whole and not keep_last else whole + 1

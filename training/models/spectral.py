"""Short-time Fourier transform and its inverse, and the level that signals are normalised to.

Periodic Hann window as long as the transform, centred frames, reflected edges, one-sided and
unnormalised: the conventions of the authors' code (Saijo & Bando 2025, section 4.2).

Tensors: B batch, S outputs, C audio channels, T samples, F bins, N frames.
"""

import math

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
    """Transform complex [..., F, N] back to waveforms [..., length]; the inverse of `stft`."""
    window = torch.hann_window(n_fft, device=spectrum.device, dtype=spectrum.real.dtype)
    x = torch.istft(spectrum.flatten(0, -3), n_fft, hop, window=window, length=length)
    return torch.unflatten(x, 0, spectrum.shape[:-2])


def spectral_rms(spectrum: Tensor) -> Tensor:
    """Return sqrt(mean |X|^2) over bins and frames of complex [..., F, N], as [...]."""
    power = torch.view_as_real(spectrum).square().sum(-1).mean((-2, -1))
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


def normalise(
    mixture_BCT: Tensor, *others: Tensor, n_fft: int = 2048, hop: int = 512
) -> tuple[Tensor, ...]:
    """Divide a mixture, and signals [B, ..., C, T] that belong to it, by the mixture's level.

    The level is the STFT RMS of each example and channel of `mixture_BCT`; losses are computed
    in this domain, as the authors do, so that their epsilons mean the same for every song.
    """
    level_BC1 = spectral_rms(stft(mixture_BCT, n_fft, hop)).unsqueeze(-1)
    batch, channels, _ = level_BC1.shape
    scaled = [mixture_BCT / level_BC1]
    for signal in others:
        between = (1,) * (signal.dim() - 3)
        scaled.append(signal / level_BC1.view(batch, *between, channels, 1))
    return tuple(scaled)

"""Scores of separated signals, in dB: utterance SDR in two forms, chunk-wise SDR, SI-SDR.

Everything is computed in float64 on the input's device.

Tensors: S sources, C audio channels, T samples, N frames.
"""

import torch
from torch import Tensor

BLOCK = 16
"""Frames scored at a time, so that float64 copies of a whole song are never made."""


def usdr_per_channel(reference_SCT: Tensor, estimate_SCT: Tensor) -> Tensor:
    """Return [S]: the SNR of each channel, then their mean (Saijo & Bando 2025, as they score it).

    10 log10((sum s^2 + eps) / (sum (s - e)^2 + eps)) with eps = 1e-8.
    """
    signal, error = _energies(reference_SCT, estimate_SCT)
    return (10 * torch.log10((signal.sum(-1) + 1e-8) / (error.sum(-1) + 1e-8))).mean(-1)


def usdr_mdx21(reference_SCT: Tensor, estimate_SCT: Tensor) -> Tensor:
    """Return [S]: the SNR with energies summed over channels (Mitsufuji et al., MDX 2021).

    10 log10((sum s^2 + delta) / (sum (s - e)^2 + delta)) with delta = 1e-7.
    """
    signal, error = _energies(reference_SCT, estimate_SCT)
    return 10 * torch.log10((signal.sum((-2, -1)) + 1e-7) / (error.sum((-2, -1)) + 1e-7))


def csdr_frames(reference_SCT: Tensor, estimate_SCT: Tensor, frame: int = 44_100) -> Tensor:
    """Return [S, N]: the SDR of museval v4 for windows of `frame` samples that do not overlap.

    In museval's "images" mode the distortion filters cancel out of the SDR, which leaves the plain
    energy ratio of each frame. Kept from museval: an incomplete last frame is dropped, but a signal
    shorter than a frame is one frame; a frame is NaN for every source if in it any reference or
    any estimate is silent, that is, its channels add up to zero at every sample; +inf where the
    error is zero.
    """
    samples = reference_SCT.shape[-1]
    length = min(frame, samples)
    count = samples // length if samples else 0
    spans = [
        slice(first * length, min(first + BLOCK, count) * length)
        for first in range(0, count, BLOCK)
    ]
    frames_SN = [
        _sdr_of_frames(reference_SCT[..., span], estimate_SCT[..., span], length) for span in spans
    ]
    none_S0 = reference_SCT.new_zeros((len(reference_SCT), 0), dtype=torch.float64)
    return torch.cat([none_S0, *frames_SN], dim=1)


def csdr(reference_SCT: Tensor, estimate_SCT: Tensor, frame: int = 44_100) -> Tensor:
    """Return [S]: the median over the frames of `csdr_frames` that are not NaN; NaN if all are."""
    return nanmedian(csdr_frames(reference_SCT, estimate_SCT, frame))


def nanmedian(values: Tensor) -> Tensor:
    """Return numpy's nanmedian over the last axis.

    Of an even number of values the two in the middle are averaged; torch's own takes the lower.
    """
    if values.shape[-1] == 0:
        return values.new_full(values.shape[:-1], torch.nan)
    ordered = values.sort(-1).values  # NaN comes last
    valid = (~values.isnan()).sum(-1, keepdim=True)
    lower = ordered.gather(-1, ((valid - 1) // 2).clamp_min(0))
    upper = ordered.gather(-1, (valid // 2).clamp_max(values.shape[-1] - 1))
    middle = torch.where(lower == upper, lower, (lower + upper) / 2)
    return middle.masked_fill(valid == 0, torch.nan).squeeze(-1)


def si_sdr(reference: Tensor, estimate: Tensor, eps: float = 1e-8) -> Tensor:
    """Return the scale-invariant SDR over the last axis (Le Roux et al. 2019, eq. 3)."""
    reference, estimate = reference.double(), estimate.double()
    product = (reference * estimate).sum(-1, keepdim=True)
    target = product / (reference.square().sum(-1, keepdim=True) + eps) * reference
    error = (estimate - target).square().sum(-1)
    return 10 * torch.log10((target.square().sum(-1) + eps) / (error + eps))


def _energies(reference: Tensor, estimate: Tensor) -> tuple[Tensor, Tensor]:
    reference, estimate = reference.double(), estimate.double()
    return reference.square(), (reference - estimate).square()


def _sdr_of_frames(reference_SCT: Tensor, estimate_SCT: Tensor, length: int) -> Tensor:
    """Return [S, N] of signals that whole frames of `length` samples make up."""
    reference_SCNT = torch.unflatten(reference_SCT.double(), -1, (-1, length))
    estimate_SCNT = torch.unflatten(estimate_SCT.double(), -1, (-1, length))
    signal_SN = reference_SCNT.square().sum((1, 3))
    error_SN = (reference_SCNT - estimate_SCNT).square().sum((1, 3))
    sdr_SN = torch.where(error_SN == 0, torch.inf, 10 * torch.log10(signal_SN / error_SN))
    silent_N = _any_silent(reference_SCNT) | _any_silent(estimate_SCNT)
    return sdr_SN.masked_fill(silent_N, torch.nan)


def _any_silent(signals_SCNT: Tensor) -> Tensor:
    return (signals_SCNT.sum(1) == 0).all(-1).any(0)

"""Scores of separated signals, in dB: utterance SDR in two forms, chunk-wise SDR, SI-SDR.

Everything is computed in float64 on the input's device.

Tensors: S sources, C audio channels, T samples, N frames.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

AT_ONCE = 30_000
"""Numbers processed at a time. Their float64 copies stay in the processor's cache, and PyTorch
uses one thread for fewer than 32,768: on a busy machine, threads that wait for each other's
millisecond of work cost ten times the work itself. Songs are scored in parallel instead."""
PROBE = 64
"""Samples that show of nearly every frame that it is not silent."""


def usdr_per_channel(reference_SCT: Tensor, estimate_SCT: Tensor) -> Tensor:
    """Return [S]: the SNR of each channel, then their mean (Saijo & Bando 2025, as they score it).

    10 log10((sum s^2 + eps) / (sum (s - e)^2 + eps)) with eps = 1e-8.
    """
    signal_SC, error_SC = _energies(reference_SCT, estimate_SCT)
    return (10 * torch.log10((signal_SC + 1e-8) / (error_SC + 1e-8))).mean(-1)


def usdr_mdx21(reference_SCT: Tensor, estimate_SCT: Tensor) -> Tensor:
    """Return [S]: the SNR with energies summed over channels (Mitsufuji et al., MDX 2021).

    10 log10((sum s^2 + delta) / (sum (s - e)^2 + delta)) with delta = 1e-7.
    """
    signal_SC, error_SC = _energies(reference_SCT, estimate_SCT)
    return 10 * torch.log10((signal_SC.sum(-1) + 1e-7) / (error_SC.sum(-1) + 1e-7))


def csdr_frames(reference_SCT: Tensor, estimate_SCT: Tensor, frame: int = 44_100) -> Tensor:
    """Return [S, N]: the SDR of museval v4 for windows of `frame` samples that do not overlap.

    In museval's "images" mode the distortion filters cancel out of the SDR, which leaves the plain
    energy ratio of each frame. As in museval: an incomplete last frame is dropped, but a signal
    shorter than a frame is one frame; a frame is NaN for every source if in it any reference or
    any estimate is silent, that is, its channels add up to zero at every sample; +inf where the
    error is zero.
    """
    samples = reference_SCT.shape[-1]
    length = min(frame, samples)
    count = samples // length if samples else 0
    sdr_SN = reference_SCT.new_empty((len(reference_SCT), count), dtype=torch.float64)
    for number in range(count):
        span = slice(number * length, (number + 1) * length)
        sdr_SN[:, number] = _sdr_of_frame(reference_SCT[..., span], estimate_SCT[..., span])
    return sdr_SN


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
    power = reference.new_zeros(reference.shape[:-1], dtype=torch.float64)
    product, error = power.clone(), power.clone()
    for ours, theirs in _pieces(reference, estimate):
        power += _energy(ours)
        product += (ours * theirs).sum(-1)
    scale = product / (power + eps)
    for ours, theirs in _pieces(reference, estimate):
        error += _energy(theirs - scale.unsqueeze(-1) * ours)
    return 10 * torch.log10((scale.square() * power + eps) / (error + eps))


def _energies(reference: Tensor, estimate: Tensor) -> tuple[Tensor, Tensor]:
    """Return the energies of the reference and of the estimate's error, over the last axis."""
    signal = reference.new_zeros(reference.shape[:-1], dtype=torch.float64)
    error = signal.clone()
    for ours, theirs in _pieces(reference, estimate):
        signal += _energy(ours)
        error += _energy(ours - theirs)
    return signal, error


def _pieces(reference: Tensor, estimate: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield both in float64, a stretch of the last axis at a time."""
    step = max(1, AT_ONCE // max(1, reference.shape[:-1].numel()))
    for start in range(0, reference.shape[-1], step):
        span = slice(start, start + step)
        yield reference[..., span].double(), estimate[..., span].double()


def _energy(signal: Tensor) -> Tensor:
    # One pass without a copy; a sum of squares first writes the squares.
    norm: Tensor = torch.linalg.vector_norm(signal, dim=-1)
    return norm.square()


def _sdr_of_frame(reference_SCT: Tensor, estimate_SCT: Tensor) -> Tensor:
    """Return [S] of one frame."""
    if _any_silent(reference_SCT) or _any_silent(estimate_SCT):
        return reference_SCT.new_full((len(reference_SCT),), torch.nan, dtype=torch.float64)
    signal_SC, error_SC = _energies(reference_SCT, estimate_SCT)
    signal_S, error_S = signal_SC.sum(-1), error_SC.sum(-1)
    return torch.where(error_S == 0, torch.inf, 10 * torch.log10(signal_S / error_S))


def _any_silent(signals_SCT: Tensor) -> bool:
    maybe_S = (signals_SCT[..., :PROBE].double().sum(1) == 0).all(-1)
    if not maybe_S.any():
        return False
    return bool((signals_SCT[maybe_S].double().sum(1) == 0).all(-1).any())

"""Thresholded SNR losses, in dB: lower is better, and a perfect estimate reaches the threshold.

Waveforms are in the domain of `training.losses.level`. Energies are sums over time
only: every audio channel is a signal of its own, as in the authors' code.

Tensors: B batch, S sources, C audio channels, T samples.
"""

import torch
from torch import Tensor

EPS = 1e-8
"""Added to every energy inside a logarithm."""


def snr_loss_of_energies(error: Tensor, signal: Tensor, soft_threshold_db: float) -> Tensor:
    """Return 10 log10(error + tau signal + eps) - 10 log10(signal + eps), elementwise.

    `error` and `signal` are energies; tau = 10^(-soft_threshold_db / 10), so the loss is bounded
    below by about -soft_threshold_db (Saijo & Bando 2025, eq. 4).
    """
    tau = 10 ** (-soft_threshold_db / 10)
    return _decibels(error + tau * signal) - _decibels(signal)


def thresholded_snr_loss(
    estimate: Tensor, reference: Tensor, soft_threshold_db: float = 30.0
) -> Tensor:
    """Return the loss in dB of waveforms [..., C, T], per channel: [..., C]."""
    return snr_loss_of_energies(
        _energy(reference - estimate), _energy(reference), soft_threshold_db
    )


def supervised_loss(
    estimate_BSCT: Tensor,
    reference_BSCT: Tensor,
    soft_threshold_db: float = 30.0,
    inactive_db: float = -60.0,
    zero_reference_weight: float = 0.1,
) -> Tensor:
    """Return the mean loss over batch, sources in fixed order, and channels.

    A reference more than `-inactive_db` below the mixture (the sum of the references) is silent:
    its estimate's own energy is pushed down instead, to `soft_threshold_db` below the mixture,
    with weight `zero_reference_weight` (Wisdom et al. 2021, the zero-reference loss of FUSS).
    """
    signal_BSC = _energy(reference_BSCT)
    mixture_B1C = _energy(reference_BSCT.sum(1, keepdim=True))
    active = signal_BSC >= 10 ** (inactive_db / 10) * (mixture_B1C + EPS)
    heard = thresholded_snr_loss(estimate_BSCT, reference_BSCT, soft_threshold_db)
    tau = 10 ** (-soft_threshold_db / 10)
    silent = zero_reference_weight * _decibels(_energy(estimate_BSCT) + tau * mixture_B1C)
    return torch.where(active, heard, silent).mean()


def _energy(x: Tensor) -> Tensor:
    return x.square().sum(-1)


def _decibels(energy: Tensor) -> Tensor:
    return 10 * torch.log10(energy + EPS)

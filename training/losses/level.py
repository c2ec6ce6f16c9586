"""The level that losses are computed at: an STFT's RMS, channel by channel.

Tensors: B batch, C audio channels, T samples.
"""

from torch import Tensor

from training.spectral import spectral_rms, stft


def at_level_of(mixture_BCT: Tensor, *signals: Tensor, n_fft: int, hop: int) -> tuple[Tensor, ...]:
    """Divide signals [B, ..., C, T] that belong to a mixture by the mixture's level.

    The level is the STFT RMS of each example and channel of `mixture_BCT`, so that the losses'
    epsilons mean the same for every song (authors' code of Saijo & Bando 2025).

    Args:
        mixture_BCT: whose level it is.
        signals: the mixture itself, its references, or anything else on its axes.
        n_fft: window and transform length in samples.
        hop: in samples.
    """
    level_BC1 = spectral_rms(stft(mixture_BCT, n_fft, hop)).unsqueeze(-1)
    batch, channels, _ = level_BC1.shape
    return tuple(
        signal / level_BC1.view(batch, *(1,) * (signal.dim() - 3), channels, 1)
        for signal in signals
    )

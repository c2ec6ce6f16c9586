"""Parts -> references of a mixture: gains and sums, as tensor functions that run on any device.

Axes: B examples, M mixtures, S stems, C audio channels, T samples.
"""

from typing import Literal

import torch
from torch import Tensor


def scale_pair(mixtures_BMCT: Tensor, ratio_db_B: Tensor) -> Tensor:
    """Scale the first of two mixtures so that its power is `ratio_db_B` dB above the second's.

    Power is the mean square over channels and samples. A silent mixture has no ratio, so a pair
    that holds one stays as it is. The authors' code does this; the paper does not mention it.

    Args:
        mixtures_BMCT: [B, 2, C, T].
        ratio_db_B: [B], dB.

    Returns:
        [B, 2, C, T].
    """
    power_BM = mixtures_BMCT.square().mean(dim=(2, 3))
    sounding_B = (power_BM > 0).all(dim=1)
    ratio_B = power_BM[:, 1] / power_BM[:, 0].where(sounding_B, 1.0)
    gain_B = (ratio_B * 10 ** (ratio_db_B / 10)).sqrt().where(sounding_B, 1.0)
    gain_BM = torch.stack([gain_B, torch.ones_like(gain_B)], dim=1)
    return mixtures_BMCT * gain_BM[:, :, None, None]


def level_stems(
    stems_BSCT: Tensor, gain_db_BS: Tensor, level: Literal["mean_abs", "rms"]
) -> Tensor:
    """Bring each stem to level 1, then to its gain (Saijo & Bando 2025, section 4.3).

    A silent stem stays silent.

    Args:
        stems_BSCT: [B, S, C, T].
        gain_db_BS: [B, S], dB of amplitude.
        level: what is brought to 1, over channels and samples: the mean magnitude as in the
            authors' code, or the root mean square as in the paper.

    Returns:
        [B, S, C, T].
    """
    if level == "rms":
        level_BS = stems_BSCT.square().mean(dim=(2, 3)).sqrt()
    else:
        level_BS = stems_BSCT.abs().mean(dim=(2, 3))
    gain_BS = 10 ** (gain_db_BS / 20) / level_BS.where(level_BS > 0, 1.0)
    return stems_BSCT * gain_BS[:, :, None, None]

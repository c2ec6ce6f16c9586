import torch
from torch import Tensor

from training.losses.level import at_level_of
from training.spectral import spectral_rms, stft


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def test_mixtures_have_unit_level_per_channel_and_parts_go_with_them() -> None:
    mixture = noise(2, 2, 8_000) * torch.tensor([0.01, 3.0])[:, None]
    parts = torch.stack([mixture * 0.25, mixture * 0.75], 1)
    for n_fft, hop in ((2048, 512), (256, 64)):
        level, scaled = at_level_of(mixture, mixture, parts, n_fft=n_fft, hop=hop)
        torch.testing.assert_close(spectral_rms(stft(level, n_fft, hop)), torch.ones(2, 2))
        torch.testing.assert_close(scaled.sum(1), level)


def test_silence_stays_silent() -> None:
    silent = torch.zeros(1, 2, 4_000)
    for signal in at_level_of(silent, silent, silent.unsqueeze(1), n_fft=2048, hop=512):
        assert not signal.any()

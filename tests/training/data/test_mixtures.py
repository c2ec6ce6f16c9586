import pytest
import torch

from training.data.mixtures import level_stems, scale_pair


def power(x: torch.Tensor) -> torch.Tensor:
    return x.square().mean((-1, -2))


def test_the_power_ratio_is_the_one_asked_for() -> None:
    pairs = torch.randn(5, 2, 2, 1000) * torch.rand(5, 2, 1, 1)
    ratios = torch.tensor([-5.0, -1.0, 0.0, 2.0, 5.0])
    scaled = scale_pair(pairs, ratios)
    measured = 10 * torch.log10(power(scaled[:, 0]) / power(scaled[:, 1]))
    assert torch.allclose(measured, ratios, atol=1e-4)
    assert torch.equal(scaled[:, 1], pairs[:, 1])


@pytest.mark.parametrize("silent", [0, 1])
def test_a_pair_with_a_silent_mixture_stays_as_it_is(silent: int) -> None:
    pair = torch.randn(1, 2, 2, 100)
    pair[:, silent] = 0
    assert torch.equal(scale_pair(pair, torch.tensor([3.0])), pair)


def test_stems_reach_their_level_and_silence_stays() -> None:
    stems = torch.randn(3, 4, 2, 500)
    stems[0, 1] = 0
    gains = torch.empty(3, 4).uniform_(-10, 10)
    for level, measure in (("rms", lambda x: power(x).sqrt()), ("mean_abs", _mean_abs)):
        out = level_stems(stems, gains, level)  # type: ignore[arg-type]
        expected = 10 ** (gains / 20)
        expected[0, 1] = 0
        assert torch.allclose(measure(out), expected, rtol=1e-4)
        assert torch.equal(out.sign(), stems.sign()), "no stem is turned over"


def _mean_abs(x: torch.Tensor) -> torch.Tensor:
    return x.abs().mean((-1, -2))

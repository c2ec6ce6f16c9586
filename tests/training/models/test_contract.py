import pytest
import torch
from torch import Tensor

from training.losses.mixit import mixit_loss
from training.losses.snr import thresholded_snr_loss
from training.models.bs_locoformer.config import BsLocoformerConfig
from training.models.bs_locoformer.model import BsLocoformer
from training.models.separator import Separator, build

MODELS: list[BsLocoformerConfig] = [
    BsLocoformerConfig(outputs=2, blocks=1, width=8, hidden=8, kernel=4, heads=2, groups=2),
    BsLocoformerConfig(
        outputs=3,
        blocks=1,
        width=8,
        hidden=4,
        kernel=3,
        heads=1,
        groups=4,
        audio_channels=1,
        sample_rate=16_000,
        n_fft=512,
        hop=128,
        keep_last_frame=True,
    ),
]


@pytest.fixture(params=MODELS, ids=lambda config: f"{config.kind}-{config.n_fft}")
def model(request: pytest.FixtureRequest) -> Separator:
    torch.manual_seed(0)
    return BsLocoformer(request.param)


def noise(model: Separator, batch: int, samples: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return 0.1 * torch.randn(batch, 1, model.config.audio_channels, samples, generator=generator)


@pytest.mark.parametrize("samples", [1, 100, 511, 1023, 1024, 2047, 2560, 4607, 5001])
def test_any_length_comes_back_finite(model: Separator, samples: int) -> None:
    x = noise(model, 2, samples)
    y = model.eval()(x)
    assert y.shape == (2, model.outputs, model.config.audio_channels, samples)
    assert y.dtype == torch.float32
    assert y.isfinite().all()
    assert y.abs().max() < 10


def test_silence_stays_silent(model: Separator) -> None:
    assert model.eval()(torch.zeros_like(noise(model, 1, 5_000))).abs().max() < 1e-6


def test_gradient_reaches_every_parameter(model: Separator) -> None:
    torch.autograd.backward(model(noise(model, 2, 6_000)).square().mean())
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_evaluation_is_deterministic_and_training_is_not(model: Separator) -> None:
    x = noise(model, 1, 6_000)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_examples_do_not_leak_into_each_other(model: Separator) -> None:
    x = noise(model, 3, 5_000)
    model.eval()
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]), rtol=1e-4, atol=1e-6)


def test_scale_of_the_input_is_the_scale_of_the_output(model: Separator) -> None:
    x = noise(model, 1, 5_000)
    model.eval()
    torch.testing.assert_close(model(64 * x), 64 * model(x), rtol=1e-3, atol=1e-4)


def test_one_batch_can_be_learnt_by_heart() -> None:
    torch.manual_seed(0)
    config = BsLocoformerConfig(
        outputs=2, blocks=1, width=16, hidden=16, kernel=4, heads=2, groups=2, dropout=0.0
    )
    model = build(config)
    time = torch.arange(8_192) / 44_100
    tones = torch.stack([(2 * torch.pi * hz * time).sin() for hz in (220.0, 5_000.0)])
    target = tones[None, :, None].expand(1, 2, 2, -1) * 0.2
    mixture = target.sum(1, keepdim=True)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(40):
        loss = thresholded_snr_loss(model(mixture), target).mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    assert loss.item() < -12


def test_mixit_sends_gradient_through_the_model(model: Separator) -> None:
    mixtures = torch.stack([noise(model, 1, 5_000)[:, 0], 0.5 * noise(model, 1, 5_000)[:, 0]], 1)
    result = mixit_loss(model(mixtures.sum(1, keepdim=True)), mixtures, "exact", 30.0)
    torch.autograd.backward(result.loss)
    assert all(parameter.grad is not None for parameter in model.parameters())

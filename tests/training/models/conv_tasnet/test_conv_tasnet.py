import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torchaudio.models import ConvTasNet as Torchaudios

from storage.errors import ConfigError
from tests.training.models import promises
from training.models.conv_tasnet.config import LONG_FILTERS, MICRO, PUBLISHED, ConvTasNetConfig
from training.models.conv_tasnet.model import ConvTasNet

MONO = MICRO.model_copy(update={"audio_channels": 1, "filter_length": 15, "mask": "relu"})
CONFIGS = [MICRO, MONO]


@pytest.fixture(params=CONFIGS, ids=["stereo", "mono"])
def model(request: pytest.FixtureRequest) -> ConvTasNet:
    torch.manual_seed(0)
    return ConvTasNet(request.param)


@pytest.mark.parametrize("samples", [*promises.LENGTHS, 8, 16])
def test_any_length(model: ConvTasNet, samples: int) -> None:
    promises.keeps_shape_and_type(model, samples)


def test_precision(model: ConvTasNet) -> None:
    promises.keeps_its_precision_under_autocast(model, 0.03)


def test_examples_stay_apart(model: ConvTasNet) -> None:
    promises.keeps_examples_apart(model)


def test_gradient(model: ConvTasNet) -> None:
    promises.learns(model)


def test_outputs_are_chosen(model: ConvTasNet) -> None:
    promises.chooses_outputs(model, [3, 1, 1])


@pytest.mark.parametrize("samples", [7, 30_001, 176_400])
def test_operations(samples: int) -> None:
    with FakeTensorMode():
        for config in (MICRO, MONO, PUBLISHED, LONG_FILTERS):
            promises.counts_its_operations(ConvTasNet(config), samples)


@pytest.mark.parametrize("samples", [1, 4_000, 4_013])
@pytest.mark.parametrize("config", [MONO, MONO.model_copy(update={"filter_length": 16})])
def test_one_channel_is_torchaudios_model(config: ConvTasNetConfig, samples: int) -> None:
    torch.manual_seed(0)
    theirs = Torchaudios(
        num_sources=config.outputs,
        enc_kernel_size=config.filter_length,
        enc_num_feats=config.filters,
        msk_num_feats=config.bottleneck,
        msk_num_hidden_feats=config.hidden,
        msk_num_layers=config.layers,
        msk_num_stacks=config.repeats,
        msk_activate=config.mask,
    )
    model = ConvTasNet(config)
    model.load_state_dict(theirs.state_dict())
    x = promises.noise(model, 2, samples)
    torch.testing.assert_close(model(x)[:, :, 0], theirs(x[:, 0]), rtol=1e-5, atol=1e-7)


def test_only_the_body_is_held_still(model: ConvTasNet) -> None:
    held = {id(parameter) for parameter in model.frozen_parameters()}
    free = [name for name, value in model.named_parameters() if id(value) not in held]
    assert sorted(free) == [
        "decoder.weight",
        "encoder.weight",
        "mask_generator.output_conv.bias",
        "mask_generator.output_conv.weight",
        "mask_generator.output_prelu.weight",
    ]


def test_published_sizes() -> None:
    mono = {"outputs": 8, "audio_channels": 1}
    with torch.device("meta"):
        sizes = [
            sum(p.numel() for p in ConvTasNet(config.model_copy(update=mono)).parameters())
            for config in (PUBLISHED, LONG_FILTERS)
        ]
    assert sizes == [5_381_169, 5_477_425]


def test_sizes_that_cannot_be_built_are_refused() -> None:
    with pytest.raises(ConfigError, match="'kernel' = 5"):
        ConvTasNetConfig.parse({"kernel": 5})
    with pytest.raises(ConfigError, match="'filter_length' = 1"):
        ConvTasNetConfig.parse({"filter_length": 1})

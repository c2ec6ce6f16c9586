import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from storage.errors import ConfigError
from tests.training.models import promises
from training.models.bs_roformer.config import (
    COMMUNITY,
    MICRO,
    PUBLISHED,
    PUBLISHED_LARGE,
    BsRoformerConfig,
)
from training.models.bs_roformer.model import BsRoformer
from training.models.bs_roformer.transformer import Transformer

CALM = {"dropout": 0.0, "attention_dropout": 0.0}
MONO = MICRO.model_copy(
    update={
        "audio_channels": 1,
        "outputs": 2,
        "dense_skips": True,
        "time_layers": 2,
        "mask_layers": 3,
        **CALM,
    }
)


@pytest.fixture(params=[MICRO, MONO], ids=["stereo", "mono"])
def model(request: pytest.FixtureRequest) -> BsRoformer:
    torch.manual_seed(0)
    return BsRoformer(request.param)


@pytest.mark.parametrize("samples", [*promises.LENGTHS, 255, 257])
def test_any_length(model: BsRoformer, samples: int) -> None:
    promises.keeps_shape_and_type(model, samples)


def test_precision(model: BsRoformer) -> None:
    promises.keeps_its_precision_under_autocast(model, 0.03)


def test_examples_stay_apart(model: BsRoformer) -> None:
    promises.keeps_examples_apart(model)


def test_gradient(model: BsRoformer) -> None:
    promises.learns(model)


def test_outputs_are_chosen(model: BsRoformer) -> None:
    promises.chooses_outputs(model, [1, 0, 1])


SINGLE = MICRO.model_copy(update={"mask_layers": 1, "band_layers": 2})


@pytest.mark.parametrize(
    ("config", "samples"),
    [(MICRO, 100), (MICRO, 20_001), (MONO, 5_000), (SINGLE, 5_000)],
)
def test_operations(config: BsRoformerConfig, samples: int) -> None:
    promises.counts_its_operations(BsRoformer(config), samples)


def test_operations_of_a_published_model() -> None:
    # Fake: it has 160 million parameters.
    with FakeTensorMode():
        promises.counts_its_operations(BsRoformer(COMMUNITY), 352_800)


def test_scale_of_the_input_is_the_scale_of_the_output(model: BsRoformer) -> None:
    x = promises.noise(model, 1, 5_000)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(64 * x), 64 * model(x), rtol=1e-3, atol=1e-4)


def test_bodies_are_all_but_the_last_norm(model: BsRoformer) -> None:
    found = {id(value) for body in model.bodies() for value in body.parameters()}
    left = [name for name, value in model.named_parameters() if id(value) not in found]
    assert left == ["final_norm.gamma"]
    held = {id(parameter) for parameter in model.frozen_parameters()}
    free = {name.split(".")[0] for name, value in model.named_parameters() if id(value) not in held}
    assert free == {"band_split", "mask_estimators"}


def test_more_sequences_than_a_kernel_takes_are_attended_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transformer = Transformer(MICRO, 1).eval()
    x = torch.randn(7, 5, MICRO.width)
    expected = transformer(x)
    monkeypatch.setattr("training.models.attention.SEQUENCES_AT_ONCE", 3)
    torch.testing.assert_close(transformer(x), expected)


def test_published_sizes() -> None:
    with torch.device("meta"):
        sizes = [
            sum(parameter.numel() for parameter in BsRoformer(config).parameters())
            for config in (PUBLISHED, PUBLISHED_LARGE, COMMUNITY)
        ]
    # The paper tells 72.2 and 93.4 million.
    assert sizes == [72_173_292, 93_476_172, 159_758_028]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_fft": 1024}, "bands cover 1025 bins; n_fft 1024 has 513"),
        ({"hop": 683}, "hop 683 is too large .* at most n_fft // 3 = 682"),
        ({"head_width": 7}, "'head_width' = 7"),
    ],
)
def test_sizes_that_cannot_be_built_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BsRoformerConfig.parse(changes)

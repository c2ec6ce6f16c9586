import pytest
import torch
from torchaudio.models import hdemucs_high

from storage.errors import ConfigError
from tests.training.models import promises
from training.models.hdemucs.config import MICRO, PUBLISHED, HdemucsConfig
from training.models.hdemucs.model import Hdemucs

MONO = MICRO.model_copy(update={"outputs": 3, "audio_channels": 1, "frequency_embedding": 0.0})
CONFIGS = [MICRO, MONO]


@pytest.fixture(params=CONFIGS, ids=["stereo", "mono"])
def model(request: pytest.FixtureRequest) -> Hdemucs:
    torch.manual_seed(0)
    return Hdemucs(request.param)


@pytest.mark.parametrize("samples", [*promises.LENGTHS, 1_023, 1_025, 2_049])
def test_any_length(model: Hdemucs, samples: int) -> None:
    promises.keeps_shape_and_type(model, samples)


def test_precision(model: Hdemucs) -> None:
    promises.keeps_its_precision_under_autocast(model, 0.0)


def test_examples_stay_apart(model: Hdemucs) -> None:
    promises.keeps_examples_apart(model)


def test_gradient(model: Hdemucs) -> None:
    promises.learns(model)


def test_outputs_are_chosen(model: Hdemucs) -> None:
    promises.chooses_outputs(model, [2, 0])


@pytest.mark.parametrize("n_fft", [1024, 2048, 4096])
@pytest.mark.parametrize("samples", [100, 30_001])
def test_operations(n_fft: int, samples: int) -> None:
    config = HdemucsConfig.parse({"n_fft": n_fft, "channels": 16, "growth": 1})
    promises.counts_its_operations(Hdemucs(config), samples)


def test_operations_of_a_long_input_and_the_published_size() -> None:
    promises.counts_its_operations(Hdemucs(MICRO), 150_001)
    with torch.device("meta"):
        assert sum(p.numel() for p in Hdemucs(PUBLISHED).parameters()) == 83_639_368


def test_the_published_weights_have_their_places() -> None:
    with torch.device("meta"):
        theirs = hdemucs_high(["drums", "bass", "other", "vocals"]).state_dict()
        ours = Hdemucs(PUBLISHED).network.state_dict()
    assert {n: t.shape for n, t in ours.items()} == {n: t.shape for n, t in theirs.items()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 3, "growth": 1}, "layer 1 has 3 channels and 0 in its residual branch"),
        ({"channels": 6, "growth": 1}, "layer 5 has 6 channels and 1 .* multiples of 4"),
        ({"n_fft": 512}, "'n_fft' = 512"),
    ],
)
def test_sizes_that_cannot_be_built_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HdemucsConfig.parse(changes)

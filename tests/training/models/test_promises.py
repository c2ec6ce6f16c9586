"""Every model in the table keeps the contract: its `MICRO` settings are all that is asked of it."""

import sys
from typing import cast

import pytest
import torch

from storage.config import Config
from storage.errors import CheckpointError, ConfigError
from storage.unions import imported
from tests.training.models import promises
from training.config import TrainConfig
from training.models.separator import ChoosesOutputs, Freezes, Separator, build, select_outputs
from training.models.settings import ModelSettings
from training.models.table import MODELS

TOLERANCE = 0.05
"""Of bfloat16, relative."""


def micro(settings: type[ModelSettings]) -> ModelSettings:
    """Return the smallest size that a kind's `config.py` names, for tests."""
    return cast("ModelSettings", sys.modules[settings.__module__].MICRO)


KINDS = {settings.model_fields["kind"].default: micro(settings) for settings in MODELS}


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest) -> Separator:
    torch.manual_seed(0)
    return build(KINDS[request.param])


def test_every_line_of_the_table_is_a_kind_of_its_own() -> None:
    assert len(KINDS) == len(MODELS)
    for settings, entry in MODELS.items():
        assert isinstance(micro(settings), settings)
        assert issubclass(imported(entry), Separator)


def test_settings_say_what_a_model_can(model: Separator) -> None:
    abilities = model.config.ABILITIES
    assert isinstance(model, ChoosesOutputs) == ("choose_outputs" in abilities)
    assert isinstance(model, Freezes) == ("freeze" in abilities)
    assert isinstance(model.config, Config)
    assert model.outputs == model.config.outputs
    assert (model.chunk_seconds, model.hop_seconds) == (
        model.config.CHUNK_SECONDS, model.config.CHUNK_SECONDS / 2
    )  # fmt: skip


@pytest.mark.parametrize("samples", promises.LENGTHS)
def test_any_length(model: Separator, samples: int) -> None:
    promises.keeps_shape_and_type(model, samples)


def test_precision(model: Separator) -> None:
    promises.keeps_its_precision_under_autocast(model, TOLERANCE)


def test_examples_stay_apart(model: Separator) -> None:
    promises.keeps_examples_apart(model)


def test_gradient(model: Separator) -> None:
    promises.learns(model)


def test_outputs_are_chosen_where_they_can_be(model: Separator) -> None:
    if isinstance(model, ChoosesOutputs):
        promises.chooses_outputs(model, [3, 1, 1])
    else:
        with pytest.raises(CheckpointError, match="cannot choose among its outputs; pre-train it"):
            select_outputs(model, [0])


def test_a_body_is_frozen_where_there_is_one(model: Separator) -> None:
    if isinstance(model, Freezes):
        promises.freezes(model)
    else:
        recipe = {"model": model.config.model_dump(mode="json"), "freeze_separator": True}
        with pytest.raises(ConfigError, match="has no body to freeze; set freeze_separator=false"):
            TrainConfig.parse(recipe)


def test_operations(model: Separator) -> None:
    promises.counts_its_operations(model, 30_001)


# Dynamo looks at the gradients of a region's inputs.
@pytest.mark.filterwarnings("ignore:.*grad attribute of a Tensor that is not a leaf")
def test_bodies_are_compiled(model: Separator) -> None:
    promises.compiles(model)


def test_recomputing_changes_no_bit(model: Separator) -> None:
    promises.recomputes(model)

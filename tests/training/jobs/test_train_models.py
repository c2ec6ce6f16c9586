"""Every model in the table through the same loop: trained, stopped, resumed, exported, used."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from storage.errors import CheckpointError
from storage.records import STEMS
from tests.training.conftest import RATE
from tests.training.jobs.test_train import MakeRun, StopAfter, losses_of, outputs, rows, weights
from tests.training.models.test_promises import KINDS
from training.checkpoints.start import initial_model
from training.checkpoints.weights import load_model
from training.config import SeparateConfig, TrainConfig
from training.inference.overlap_add import separate
from training.jobs.train import train
from training.model_folder import stems_of
from training.models.separator import ChoosesOutputs, select_outputs

STEPS = ["loop.steps=3", "loop.validate_every=3", "loop.checkpoint_every=1", "loop.log_every=1"]


def recipe_of(kind: str, regime: TrainConfig) -> TrainConfig:
    """Return a recipe of a few steps on two examples of half a second."""
    shape = {"outputs": len(STEMS), "audio_channels": 2, "sample_rate": RATE}
    model = KINDS[kind].model_copy(update=shape)
    recipe = regime.model_copy(update={"model": model})
    return recipe.override([*STEPS, "data.batch_size=2", "runtime.snapshot_every=0"])


@pytest.mark.parametrize("regime", ["mixit", "supervised"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_trained_stopped_resumed_exported_and_used(
    make_run: MakeRun,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    regime: str,
) -> None:
    recipe = recipe_of(kind, request.getfixturevalue(regime))
    straight, halting = (make_run(name, "train", recipe) for name in ("straight", "halting"))
    before = initial_model(recipe, straight.job()).state_dict()
    train(straight)
    assert all(map(math.isfinite, losses_of(straight)))
    after = weights(straight)
    assert before.keys() == after.keys()
    trained = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert len(trained) > len(before) / 2

    with monkeypatch.context() as patch:
        patch.setattr("training.engine.loop.Interruption", StopAfter)
        patch.setattr(StopAfter, "number", 2)
        with pytest.raises(SystemExit):
            train(halting)
    assert not halting.result.exists()
    train(halting)
    assert outputs(halting) == outputs(straight)
    assert rows(halting) == rows(straight)

    model = load_model(straight.model)
    assert model.config == recipe.model
    names = stems_of(straight.model)
    assert names == (STEMS if regime == "supervised" else tuple(f"output-0{n}" for n in range(4)))
    song = 0.1 * torch.randn(2, 9_001, generator=torch.Generator().manual_seed(0))
    config = SeparateConfig(chunk_seconds=0.5)
    stems = separate(model, song, config)
    assert stems.shape == (4, 2, 9_001)
    assert stems.isfinite().all()
    if isinstance(model, ChoosesOutputs):
        chosen = separate(select_outputs(model, [2, 0]), song, config)
        torch.testing.assert_close(chosen, stems[[2, 0]], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_another_kinds_weights_are_refused(
    make_run: MakeRun, mixit: TrainConfig, make_index: Callable[..., Path], kind: str
) -> None:
    other = next(name for name in KINDS if name != kind)
    given = make_run("given", "train", recipe_of(other, mixit).override(["loop.steps=1"]))
    train(given)
    recipe = recipe_of(kind, mixit)
    with pytest.raises(CheckpointError, match="do not fit the model"):
        initial_model(recipe, make_run("taking", "train", recipe, model=given.model).job())

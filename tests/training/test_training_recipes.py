import subprocess
import sys

import pytest

from training import recipes
from training.config import TrainConfig
from training.data.clips.config import ClipsData
from training.data.stems.config import StemsData
from training.models.bs_locoformer.model import BsLocoformer
from training.models.separator import build
from training.settings.schedules import ExponentialSchedule

NAMES = [
    f"{verb}_{size}"
    for verb in ("pretrain", "finetune")
    for size in ("small", "medium", "large", "demo", "tiny", "gain", "smoke")
]


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_whole_and_survives_json(name: str) -> None:
    recipe: TrainConfig = getattr(recipes, name)()
    assert TrainConfig.parse(recipe.model_dump(mode="json")) == recipe
    if name.startswith("finetune"):
        assert isinstance(recipe.data, StemsData)
        assert recipe.model.outputs == 4
    else:
        assert isinstance(recipe.data, ClipsData)
        assert recipe.model.outputs >= 4


def test_the_published_numbers() -> None:
    pretrain, finetune = recipes.pretrain_large(), recipes.finetune_large()
    assert (pretrain.loop.steps, finetune.loop.steps) == (152_850, 99_000)
    assert (pretrain.data.batch_size, finetune.data.batch_size) == (128, 32)
    assert pretrain.optim.lr == finetune.optim.lr == 5e-4
    assert recipes.pretrain_medium().optim.lr == recipes.finetune_small().optim.lr == 1e-3
    before, after = pretrain.schedule, finetune.schedule
    assert isinstance(before, ExponentialSchedule)
    assert isinstance(after, ExponentialSchedule)
    assert (before.warmup_steps, after.warmup_steps) == (4000, 5000)
    assert (after.hold_steps, after.decay_every) == (60_500, 220)
    assert (pretrain.loop.validate_every, finetune.loop.validate_every) == (2038, 550)
    assert pretrain.model.outputs == 12


def test_frozen() -> None:
    frozen = recipes.frozen(recipes.finetune_small())
    assert frozen.freeze_separator
    assert frozen.loop.steps == 22_000
    assert frozen.digest() != recipes.finetune_small().digest()


def test_the_published_size() -> None:
    model = build(recipes.finetune_small().model)
    assert isinstance(model, BsLocoformer)
    assert sum(p.numel() for p in model.frozen_parameters()) == 5_021_440
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(29.54e6, rel=1e-3)


def test_recipes_do_without_torch() -> None:
    code = "import sys, training.recipes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_gain_is_measured_with_one_budget_and_any_seed() -> None:
    for recipe in (recipes.pretrain_gain, recipes.finetune_gain):
        first, second = recipe(), recipe(seed=1)
        assert (first.loop.seed, second.loop.seed) == (0, 1)
        assert first == second.override(["loop.seed=0"])
        assert first.loop.steps % first.loop.validate_every == 0
        assert first.loop.keep_best == 5

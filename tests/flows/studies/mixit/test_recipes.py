"""Recipes are complete values; the paper's follow what was published."""

import json

import pytest

from flows.studies.mixit.config import MixitStudyConfig
from flows.studies.mixit.recipes import RECIPES
from flows.studies.table import named
from pipelines.archives.known_archives import published
from pipelines.config import MUSDB_VALIDATION
from storage.errors import ConfigError
from training.data.clips.config import ClipsData
from training.data.stems.config import StemsData
from training.models.bs_locoformer.config import BsLocoformerConfig
from training.objectives.mixit.config import MixitObjective
from training.objectives.supervised.config import SupervisedObjective
from training.settings.optimisers import AdamWConfig
from training.settings.schedules import ExponentialSchedule

PAPER = ("paper_small", "paper_medium", "paper_large")
SIZES = {
    "paper_small": (4, 96, 128, 4, 4),
    "paper_medium": (6, 128, 192, 8, 8),
    "paper_large": (9, 192, 256, 8, 8),
}
"""Blocks, width, hidden, heads, groups."""
EPOCH = 1019
"""Optimiser steps of one pre-training epoch."""

KEYED = ("pretraining", "finetuning", "selection", "evaluation", "fma", "musdb")
KEYS = {
    "demo": (
        "f9d07bb6acebb405",
        "692d3b6806a02d14",
        "8778a544b09ceb58",
        "129e6f43f33437c8",
        "cdae7e063a8f3f64",
        "e14333c37205008f",
        "1c28766ad4e5f57a",
    ),
    "gain": (
        "af56bf8040b63e78",
        "57a9de752ce8ca33",
        "8778a544b09ceb58",
        "129e6f43f33437c8",
        "cdae7e063a8f3f64",
        "e14333c37205008f",
        "d49a393236a5da43",
    ),
    "smoke": (
        "9b19b48f98ef10ec",
        "d328d10b542d9a51",
        "503245ce6b69f520",
        "f2c3d7280dccd336",
        "3ccfa0672039614f",
        "e14333c37205008f",
        "6cba267a8481bf27",
    ),
    "real_tiny": (
        "2867fcc1974c21ca",
        "5272f258b27bf213",
        "8778a544b09ceb58",
        "129e6f43f33437c8",
        "08ec27927706d8a7",
        "2c9a861dc90fbdaf",
        "af570dfd64b28080",
    ),
    "paper": (
        "be3f4e1b8e2d7fcb",
        "c3d6a0eef2890fdf",
        "e4aee0c15cfc8dd4",
        "49157c19d6c0c891",
        "508ef1d27e8a8cd9",
        "b718cb66b869eed4",
        "19788f8613bf04b9",
    ),
    "paper_small": (
        "a9af9e6cce9be91a",
        "2d92febf549d99e2",
        "e4aee0c15cfc8dd4",
        "49157c19d6c0c891",
        "508ef1d27e8a8cd9",
        "b718cb66b869eed4",
        "b269a301b3cc98b7",
    ),
    "paper_medium": (
        "be3f4e1b8e2d7fcb",
        "c3d6a0eef2890fdf",
        "e4aee0c15cfc8dd4",
        "49157c19d6c0c891",
        "508ef1d27e8a8cd9",
        "b718cb66b869eed4",
        "28807afba228d6d3",
    ),
    "paper_large": (
        "80b3b45c35716f27",
        "bfbffdf461c60a3b",
        "e4aee0c15cfc8dd4",
        "49157c19d6c0c891",
        "508ef1d27e8a8cd9",
        "b718cb66b869eed4",
        "ac2e7cb384869a29",
    ),
}
"""Beginnings of the digests, in the last release, of what `KEYED` names and of the whole study."""


@pytest.mark.parametrize("name", KEYS)
def test_a_recipe_is_keyed_as_in_the_last_release(name: str) -> None:
    """A home of that release counts as done; another key trains for weeks once more."""
    config = RECIPES[name]()
    parts = [getattr(config, part).digest() for part in KEYED]
    assert [digest[:16] for digest in (*parts, config.digest())] == list(KEYS[name])


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_json(name: str) -> None:
    config = RECIPES[name]()
    again = MixitStudyConfig.parse(json.loads(json.dumps(config.model_dump(mode="json"))))
    assert again == config
    assert again.digest() == config.digest()
    assert json.loads(json.dumps(config.what_matters())) == again.what_matters()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_named_as_it_is_called_and_says_what_it_is(name: str) -> None:
    assert RECIPES[name]().name == name
    assert (RECIPES[name].__doc__ or "").endswith((".", "?"))


def test_recipes_differ() -> None:
    digests = {RECIPES[name]().digest() for name in RECIPES}
    assert len(digests) == len(RECIPES)


def test_unknown_recipe_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match="unknown recipe 'papers'") as caught:
        named("papers")
    assert "did you mean 'paper'?" in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        named("xyz")
    assert all(name in str(caught.value) for name in RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_both_halves_fit_each_other(name: str) -> None:
    """Fine-tuning takes the pre-trained separator over and keeps four of its outputs."""
    config = RECIPES[name]()
    before, after = config.pretraining.model, config.finetuning.model
    assert after == before.model_copy(update={"outputs": 4})
    assert before.outputs >= 4
    assert isinstance(config.pretraining.data, ClipsData)
    assert isinstance(config.pretraining.objective, MixitObjective)
    assert isinstance(config.finetuning.data, StemsData)
    assert isinstance(config.finetuning.objective, SupervisedObjective)
    assert config.pretraining.data.segment_seconds <= config.fma.clips.seconds


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_steps(name: str) -> None:
    config = RECIPES[name]()
    first, second = config.pretraining, config.finetuning
    assert (first.loop.steps, second.loop.steps) == (150 * EPOCH, 900 * 110)
    assert (first.data.batch_size, second.data.batch_size) == (128, 32)
    assert first.data.segment_seconds == second.data.segment_seconds == 6
    before, after = first.schedule, second.schedule
    assert isinstance(before, ExponentialSchedule)
    assert isinstance(after, ExponentialSchedule)
    assert (before.warmup_steps, after.warmup_steps) == (4000, 5000)
    assert (before.decay, before.decay_every) == (0.965, 2 * EPOCH)
    assert (after.decay, after.decay_every) == (0.98, 2 * 110)
    assert after.hold_steps == 550 * 110
    assert first.loop.validate_every == 2 * EPOCH
    assert second.loop.validate_every == 5 * 110
    peak = 5e-4 if name == "paper_large" else 1e-3
    assert first.optim.lr == second.optim.lr == peak
    assert type(first.optim) is type(second.optim) is AdamWConfig
    assert first.optim.weight_decay == second.optim.weight_decay == 1e-2


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_models(name: str) -> None:
    model = RECIPES[name]().pretraining.model
    assert isinstance(model, BsLocoformerConfig)
    size = (model.blocks, model.width, model.hidden, model.heads, model.groups)
    assert size == SIZES[name]
    assert (model.outputs, model.kernel, model.n_fft, model.hop) == (12, 8, 2048, 512)


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_data(name: str) -> None:
    config = RECIPES[name]()
    assert config.synthesis is None
    assert config.from_scratch
    assert config.fma.archive == "fma_large.zip"
    assert published(config.fma.archive), "whose sums are known by its name"
    assert published(config.fma.metadata)
    assert published(config.musdb.archive)
    assert (config.fma.clips.seconds, config.fma.clips.hop_seconds) == (10, 5)
    assert config.musdb.validation == MUSDB_VALIDATION
    assert len(set(MUSDB_VALIDATION)) == 14
    separate = config.evaluation.separate
    # What is not said is the model's own, and half of it.
    assert (separate.chunk_seconds, separate.hop_seconds) == (None, None)
    assert config.finetuning.model.CHUNK_SECONDS == 12


@pytest.mark.parametrize("name", ["demo", "smoke", "real_tiny"])
def test_small_recipes_are_small(name: str) -> None:
    config = RECIPES[name]()
    assert config.pretraining.loop.steps + 2 * config.finetuning.loop.steps <= 500
    assert config.fma.units_per_task * config.fma.unit_tracks <= 32

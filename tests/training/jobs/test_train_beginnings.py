"""What a training run begins with, what it leaves alone, and what it refuses."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from storage.errors import CheckpointError, ConfigError, RunError
from storage.files import write_json
from storage.records import STEMS, ChannelMap
from tests.training.jobs.test_train import MakeRun, weights
from training.checkpoints.start import initial_model
from training.checkpoints.weights import load_model
from training.config import TrainConfig
from training.jobs.train import train


def test_fine_tuning_begins_with_the_chosen_outputs(
    make_run: MakeRun, mixit: TrainConfig, supervised: TrainConfig, tmp_path: Path
) -> None:
    six = mixit.override(["model.outputs=6", "loop.steps=1"])
    pretraining = make_run("pretrain", "train", six)
    train(pretraining)
    chosen = ChannelMap(
        stems=STEMS, channels=(5, 0, 3, 2), votes=tuple((0,) * 6 for _ in STEMS), chunks=1
    )
    write_json(tmp_path / "channels.json", chosen.model_dump(mode="json"))
    given = {"model": pretraining.model, "channels": tmp_path / "channels.json"}
    job = make_run("finetune", "train", supervised, **given).job()
    x = torch.randn(1, 1, 2, 4000)
    expected = load_model(pretraining.model)(x)[:, [5, 0, 3, 2]]
    assert torch.allclose(initial_model(supervised, job).eval()(x), expected, atol=1e-6)
    with pytest.raises(CheckpointError, match="do not fit the model"):
        initial_model(supervised.override(["model.width=16"]), job)
    write_json(tmp_path / "channels.json", {**chosen.model_dump(mode="json"), "stems": STEMS[::-1]})
    with pytest.raises(CheckpointError, match="other, vocals, drums, bass"):
        initial_model(supervised, job)
    write_json(tmp_path / "channels.json", {})
    with pytest.raises(CheckpointError, match="is no channel map"):
        initial_model(supervised, job)


def test_a_frozen_separator_stays_as_it_was(make_run: MakeRun, supervised: TrainConfig) -> None:
    recipe = supervised.override(["freeze_separator=true", "loop.steps=2"])
    run = make_run("frozen", "train", recipe)
    before = initial_model(recipe, run.job()).state_dict()
    train(run)
    after = weights(run)
    changed = {name.split(".")[0] for name in after if not torch.equal(before[name], after[name])}
    assert changed == {"encoder", "decoder"}


def test_changed_data_or_recipe_do_not_resume(
    make_run: MakeRun, make_index: Callable[..., Path], mixit: TrainConfig
) -> None:
    train(make_run("run", "train", mixit))
    with pytest.raises(CheckpointError, match="of another configuration or of other data"):
        train(make_run("run", "train", mixit.override(["optim.lr=0.5"])))
    other = make_index({f"{n:06d}": "training" for n in range(5)})
    with pytest.raises(CheckpointError, match=r"input\.index"):
        train(make_run("run", "train", mixit, index=other))
    train(make_run("run", "train", mixit.override(["runtime.micro_batch=2"])))


def test_what_is_missing_is_named(make_run: MakeRun, mixit: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere.json cannot be read"):
        train(make_run("missing", "train", mixit, index=tmp_path / "nowhere.json"))
    with pytest.raises(ConfigError, match="unknown configuration 'speed'"):
        run = make_run("unknown", "train", mixit)
        write_json(run.root / "job.json", {"verb": "train", "inputs": {}, "recipe": {"speed": 1}})
        train(run)
    with pytest.raises(RunError, match="names no input 'index'"):
        write_json(
            run.root / "job.json",
            {"verb": "train", "inputs": {}, "recipe": mixit.model_dump(mode="json")},
        )
        train(run)

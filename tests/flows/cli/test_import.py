"""`import` writes a model where there is none, and says in one sentence what it refuses."""

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from flows.cli.export import import_model
from flows.cli.output import View
from storage.errors import ConfigError
from storage.files import read_json
from storage.records import STEMS
from tests.training.models.bs_locoformer.test_published import oracle_of, published_state
from training.models.bs_locoformer.config import SMALL


def run(checkpoint: Path, model: Path, *options: str, as_json: bool = False) -> str:
    console = Console(file=io.StringIO(), width=200, _environ={})
    import_model(checkpoint, model, list(options), View(console, as_json))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def write_checkpoint(path: Path) -> Path:
    """Write a checkpoint in the form that the first paper's authors have published."""
    oracle = oracle_of(SMALL.model_copy(update={"outputs": 4, "decoder_tanh": "first"}))
    weights = {f"model.{name}": value for name, value in published_state(oracle).items()}
    torch.save(weights, path)
    return path


@pytest.mark.slow
def test_a_checkpoint_is_imported_once_and_again(tmp_path: Path) -> None:
    checkpoint, model = write_checkpoint(tmp_path / "m.ckpt"), tmp_path / "model"
    names = ", ".join(STEMS)
    expected = f"{model}: bs_locoformer, 4 outputs ({names}), 44100 Hz, chunks of 12 s\n"
    assert run(checkpoint, model) == expected
    first = (model / "model.json").read_bytes()
    found = json.loads(run(checkpoint, model, as_json=True))
    assert (found["kind"], found["outputs"], found["stems"]) == ("bs_locoformer", 4, list(STEMS))
    assert (model / "model.json").read_bytes() == first

    torch.save({**torch.load(checkpoint), "more": torch.ones(1)}, tmp_path / "other.ckpt")
    with pytest.raises(ConfigError, match=r"model holds another model \(m\.ckpt\); give a new"):
        run(tmp_path / "other.ckpt", model)
    assert (model / "model.json").read_bytes() == first


@pytest.mark.slow
def test_what_the_child_refuses_ends_the_command(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.save({"weight": torch.ones(2)}, tmp_path / "x.ckpt")
    with pytest.raises(SystemExit) as stop:
        run(tmp_path / "x.ckpt", tmp_path / "model")
    assert stop.value.code == 4
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith("error: checkpoint ")
    assert line.endswith("give a published BS-Locoformer")
    assert not (tmp_path / "model").exists()


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    checkpoint = tmp_path / "x.ckpt"
    with pytest.raises(ConfigError, match=r"no such checkpoint: .*x\.ckpt; give a file"):
        run(checkpoint, tmp_path / "model")
    checkpoint.touch()
    with pytest.raises(ConfigError, match=r"x\.ckpt is a file; give a folder"):
        run(checkpoint, checkpoint)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text('{"steps": 3}')
    with pytest.raises(ConfigError, match=r"holds another model \(trained here\)"):
        run(checkpoint, tmp_path / "model")
    assert read_json(tmp_path / "model" / "model.json") == {"steps": 3}

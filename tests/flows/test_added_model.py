"""A model is added as CONTRIBUTING says: its settings, its class, one entry.

The smoke study then plans, trains, selects, fine-tunes, evaluates and reports it, by the commands
of a person; a run of it is killed and resumed to the bit; it is exported, loaded and separates.
"""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from storage.records import STEMS
from tests.copied_tree import LIMIT_SECONDS, Tree
from tests.flows.conftest import Works
from tests.synthesised import write_audio

CONFIG = '''"""Settings of the toy."""

from typing import ClassVar, Literal

from training.models.settings import Ability, ModelSettings


class ToyConfig(ModelSettings):
    """Two convolutions in the time domain."""

    ABILITIES: ClassVar[frozenset[Ability]] = frozenset({"choose_outputs"})
    CHUNK_SECONDS: ClassVar[float] = 2.0

    kind: Literal["toy"] = "toy"
    width: int = 8

    def operations(self, samples: int) -> float:
        """Return the operations of both convolutions."""
        return 2.0 * samples * 9 * self.width * self.audio_channels * (1 + self.outputs)
'''
MODEL = '''"""The toy."""

import torch
from torch import nn

from training.models.separator import ChoosesOutputs


class Toy(ChoosesOutputs):
    """x_BICT -> y_BSCT."""

    def __init__(self, config):
        super().__init__(config)
        self.encoder = nn.Conv1d(config.audio_channels, config.width, 9, padding=4)
        self.decoder = nn.Conv1d(
            config.width, config.outputs * config.audio_channels, 9, padding=4
        )

    def forward(self, x_BICT):
        hidden = torch.tanh(self.encoder(x_BICT[:, 0]))
        return self.decoder(hidden).unflatten(1, (self.outputs, -1)).float()

    def state_of(self, chosen):
        state = {name: value.clone() for name, value in self.state_dict().items()}
        for name in ("decoder.weight", "decoder.bias"):
            rows = state[name].unflatten(0, (self.outputs, -1))
            state[name] = rows[list(chosen)].flatten(0, 1)
        return state
'''
SETTINGS = ("pretraining.model.kind=toy", "finetuning.model.kind=toy")
ENTRY = (
    ("from training.models.toy.config import ToyConfig", "from training.models.hdemucs"),
    ('    ToyConfig: "training.models.toy.model:Toy",', "    HdemucsConfig:"),
)
"""Lines of the table, and what they stand before."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    tree = Tree.of(tmp_path_factory.mktemp("tree"))
    tree.add("training/models/toy/__init__.py", '"""Two convolutions."""\n')
    tree.add("training/models/toy/config.py", CONFIG)
    tree.add("training/models/toy/model.py", MODEL)
    for line, before in ENTRY:
        tree.insert("training/models/table.py", line, before)
    return tree


@pytest.fixture(scope="module")
def home(tree: Tree, works: Works, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the smoke study was planned and ran with the toy."""
    home = tmp_path_factory.mktemp("toy") / "home"
    words = works.order("study", home, *SETTINGS)
    plan = tree.run("flows", "plan", *words[1:], "--json", **works.variables)
    jobs = {row["stage"]: row for row in json.loads(plan.stdout)["stages"]}
    assert jobs["pretrain"]["state"] == "waiting"
    assert jobs["pretrain"]["gpu_hours"] > 0, "operations are asked of the model"
    tree.run("flows", *words, **works.variables)
    return home


def test_the_study_runs_with_it_and_is_cached_then(home: Path, tree: Tree, works: Works) -> None:
    trained = [json.loads(p.read_text()) for p in home.glob("runs/train-*/result/model/model.json")]
    assert [one["model"]["kind"] for one in trained] == ["toy"] * 3
    assert list(home.rglob("report.html")), "its report is written"
    scores = list(home.glob("runs/evaluate-*/result/scores.jsonl"))
    assert len(scores) == 2
    tree.run("flows", *works.order("study", home, *SETTINGS), **works.variables)
    states = works.states(works.last_run(home)["id"])
    assert set(states.values()) == {"Cached"}


def test_a_killed_run_of_it_resumes_to_the_bit(home: Path, tree: Tree, tmp_path: Path) -> None:
    straight, hurt = (_longer_run(home, tmp_path / name) for name in ("straight", "hurt"))
    tree.run("training", "train", str(straight))
    kills = 0
    while not (hurt / "result").exists():
        found = len(list((hurt / "checkpoints").glob("step-*")))
        child = subprocess.Popen(
            [sys.executable, "-m", "training", "train", str(hurt)],
            cwd=tree.root, env=tree.environment, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + LIMIT_SECONDS
        while child.poll() is None and kills < 2:
            assert time.monotonic() < deadline
            if len(list((hurt / "checkpoints").glob("step-*"))) > found:
                child.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.005)
        assert child.wait(LIMIT_SECONDS) in (0, -signal.SIGKILL)
    assert kills == 2
    weights = [run / "result" / "model" / "model.safetensors" for run in (straight, hurt)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def _longer_run(home: Path, run: Path) -> Path:
    """Return a run directory of the toy that trains from scratch for longer than the study's."""
    jobs = [json.loads(path.read_text()) for path in home.glob("runs/train-*/job.json")]
    job = next(job for job in jobs if "songs" in job["inputs"] and "model" not in job["inputs"])
    job["recipe"]["loop"] |= {"steps": 40, "validate_every": 20, "checkpoint_every": 2}
    run.mkdir()
    (run / "job.json").write_text(json.dumps(job))
    return run


def test_it_is_exported_and_separates(home: Path, tree: Tree, works: Works, tmp_path: Path) -> None:
    tuned = next(
        path.parents[1]
        for path in home.glob("runs/train-*/result/model")
        if "channels" in json.loads((path.parents[1] / "job.json").read_text())["inputs"]
    )
    variables = works.variables
    tree.run("flows", "export", str(tuned), str(tmp_path / "toy"), **variables)
    song = tmp_path / "song.wav"
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 130_000)).astype(np.float32)
    write_audio(song, noise, 44_100)
    out = tmp_path / "out"
    tree.run("flows", "separate", str(tmp_path / "toy"), str(song), str(out), **variables)
    assert sorted(path.stem for path in (out / "song").iterdir()) == sorted(STEMS)
    assert load_file(tmp_path / "toy" / "model.safetensors")["decoder.weight"].shape[0] == 8

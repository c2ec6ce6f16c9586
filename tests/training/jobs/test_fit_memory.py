"""The largest micro-batch that fits: found, and found to fit."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import MachineError
from training.config import TrainConfig
from training.jobs.fit_memory import Attempt, even, largest, probe

ROOT = Path(__file__).parents[3]


@given(st.integers(0, 200), st.integers(1, 200))
def test_the_search_finds_the_edge(edge: int, most: int) -> None:
    tried = largest(lambda examples: Attempt(examples, examples <= edge, 0), most)
    assert max((one.examples for one in tried if one.fits), default=0) == min(edge, most)
    assert len({one.examples for one in tried}) == len(tried) <= 2 * most.bit_length() + 1
    assert all(1 <= one.examples <= most for one in tried)


@given(st.integers(1, 300), st.integers(1, 300))
def test_even_passes(share: int, most: int) -> None:
    chosen = even(share, most)
    assert 1 <= chosen <= most or chosen <= share <= most
    assert -(-share // chosen) == -(-share // most), "no more passes than the largest needs"
    assert (chosen - 1) * -(-share // most) < share, "and no smaller one would do"


def fit_in_child(recipe: TrainConfig, folder: Path, *words: str) -> Any:
    (folder / "recipe.json").write_text(json.dumps(recipe.model_dump(mode="json")))
    return subprocess.run(
        [sys.executable, "-m", "training", "fit", str(folder / "recipe.json"), *words],
        check=False, capture_output=True, text=True, cwd=ROOT, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
def test_more_memory_holds_more_and_the_batch_is_kept(mixit: TrainConfig, tmp_path: Path) -> None:
    recipe = mixit.override(["data.batch_size=4", "data.segment_seconds=4", "model.width=16"])
    found = []
    for gigabytes in ("1.5", "40"):
        done = fit_in_child(recipe, tmp_path, "--memory-gb", gigabytes)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    tight, roomy = found
    assert 1 <= tight["largest"] < roomy["largest"] == roomy["micro_batch"] == 4
    assert roomy["passes"] == 1
    assert tight["passes"] * tight["micro_batch"] >= 4 > (tight["passes"] - 1) * tight["largest"]
    assert not tight["tried"][-1]["fits"] or not tight["tried"][-2]["fits"]
    assert tight["device"] == "CPU"


def test_too_little_for_one(mixit: TrainConfig, tmp_path: Path) -> None:
    done = fit_in_child(mixit, tmp_path, "--memory-gb", "0.1")
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr.startswith("error: not even one example of the recipe fits into memory")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_without_a_gpu_it_says_so(mixit: TrainConfig) -> None:
    with pytest.raises(MachineError, match=r"there is no GPU here.*--memory-gb"):
        probe(mixit)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu(mixit: TrainConfig) -> None:
    found = probe(mixit.override(["runtime.device=cuda"]))
    assert found["largest"] == 4
    assert all(one["peak_gb"] > 0 for one in found["tried"])

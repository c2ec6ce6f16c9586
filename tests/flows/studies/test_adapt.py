"""A community checkpoint: imported, separated with, scored, fine-tuned, scored again, exported."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from storage.files import hash_file
from storage.records import STEMS
from tests.flows.conftest import Works
from tests.synthesised import write_audio
from tests.training.models.bs_roformer.community_form import (
    community_settings,
    oracle_of,
    write_yaml,
)
from training.models.bs_roformer.config import MICRO

pytestmark = pytest.mark.slow

RATE = 44_100
COMMUNITY = MICRO.model_copy(update={"mask_expansion": 4, "blocks": 1})
STAGES = {
    "synthesise", "unpack musdb", "detect activity", "check model", "evaluate as given",
    "finetune", "evaluate finetune", "report",
}  # fmt: skip


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint of the community's own package, and the YAML beside it."""
    folder = tmp_path_factory.mktemp("published")
    torch.save({"state_dict": oracle_of(COMMUNITY).state_dict()}, folder / "stems.ckpt")
    settings = write_yaml(
        folder / "stems.yaml",
        community_settings(COMMUNITY),
        audio={"chunk_size": RATE},
        training={"target_instrument": None, "instruments": list(STEMS)},
    )
    return folder / "stems.ckpt", settings


def test_a_community_checkpoint_is_used_like_our_own(
    works: Works, published: tuple[Path, Path], tmp_path: Path
) -> None:
    checkpoint, settings = published
    model, home = tmp_path / "model", tmp_path / "home"
    answer = works("import", str(checkpoint), str(model), "--settings", str(settings), "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == {
        "folder": str(model),
        "kind": "bs_roformer",
        "outputs": 4,
        "stems": list(STEMS),
        "sample_rate": RATE,
        "chunk_seconds": 1.0,
    }

    noise = 0.1 * np.random.default_rng(1).standard_normal((2, RATE))
    write_audio(tmp_path / "song.wav", noise.astype(np.float32), RATE, "FLOAT")
    answer = works("separate", str(model), str(tmp_path / "song.wav"), str(tmp_path / "out"))
    assert answer.returncode == 0, answer.stderr
    assert {path.stem for path in (tmp_path / "out" / "song").iterdir()} == set(STEMS)

    order = ("adapt", "--recipe", "adapt_smoke", "--home", str(home), "--set", f"model={model}")
    plan = json.loads(works("plan", *order, "--json").stdout)
    assert {stage["stage"] for stage in plan["stages"]} == STAGES
    answer = works("run", *order, "--json")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    outcome = json.loads(answer.stdout)
    assert works.states(works.last_run()["id"]) == dict.fromkeys(STAGES, "Completed")
    assert {row[0] for row in outcome["scores"]["rows"]} == {
        "fine-tuned", "as given", "mixture / 4",
    }  # fmt: skip
    page = Path(outcome["report"]).read_text()
    assert "fine-tuned against as given:" in page
    assert "the checkpoint stems.ckpt" in page
    assert "has not been counted yet" not in page
    assert "No channel map" not in page

    # The home has a copy: what is done stays done though the folder is moved.
    model.rename(tmp_path / "moved")
    assert works("run", *order).returncode == 0
    assert works.states(works.last_run()["id"]) == dict.fromkeys(STAGES, "Cached")
    status = json.loads(works("status", "--home", str(home), "--json").stdout)
    assert {stage["state"] for stage in status["adapt_smoke"]} == {"done"}

    [run] = [path.parent for path in home.glob("runs/train-*/job.json")]
    answer = works("export", str(run), str(tmp_path / "exported"))
    assert answer.returncode == 0, answer.stderr
    card = (tmp_path / "exported" / "README.md").read_text()
    assert "| Made from | the checkpoint stems.ckpt, under that one's licence |" in card
    assert "| this model | uSDR |" in card
    lineage = json.loads((tmp_path / "exported" / "lineage.json").read_text())
    assert "check-model" in {step["stage"] for step in lineage["steps"].values()}
    weights = [
        folder / "model.safetensors" for folder in (tmp_path / "moved", run / "result/model")
    ]
    assert hash_file(weights[0]) != hash_file(weights[1]), "fine-tuning changed it"

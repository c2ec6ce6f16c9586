"""A community checkpoint: imported, separated with, scored, fine-tuned, scored again, exported."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from flows.cli.views import required_studies
from storage.config import Json
from storage.files import hash_file
from storage.home.open import open_home
from storage.manifests import read_table
from storage.records import STEMS, TrainedOn
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
MODEL = "result/model"
"""Of a run directory."""
COMMUNITY = MICRO.model_copy(update={"mask_expansion": 4, "blocks": 1})
STAGES = {
    "check musdb", "unpack musdb", "detect activity", "check model", "evaluate as given",
    "finetune", "evaluate finetune", "report",
}  # fmt: skip


@dataclass(frozen=True)
class Adapted:
    """A model that was imported, and a home in which it was scored and fine-tuned."""

    archives: Path
    model: Path
    home: Path
    outcome: Json

    @property
    def order(self) -> list[str]:
        """The command that did it."""
        return _order(self.archives, self.model, self.home)

    @property
    def run(self) -> Path:
        """The run directory of the fine-tuning."""
        [job] = self.home.glob("runs/train-*/job.json")
        return job.parent


def _order(archives: Path, model: Path, home: Path) -> list[str]:
    settings = [
        f"model={model}",
        "synthesis=null",
        f"data.root={archives}",
        "musdb.archive=musdb_tiny.zip",
        "finetuning.data.segment_seconds=0.5",
        "finetuning.loop.steps=3",
    ]
    given = [word for setting in settings for word in ("--set", setting)]
    return ["run", "adapt", "--recipe", "adapt_smoke", "--home", str(home), *given, "--json"]


@pytest.fixture(scope="module")
def imported(works: Works, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model imported from a checkpoint of the community's own package, and its YAML."""
    folder = tmp_path_factory.mktemp("published")
    torch.save({"state_dict": oracle_of(COMMUNITY).state_dict()}, folder / "stems.ckpt")
    settings = write_yaml(
        folder / "stems.yaml",
        community_settings(COMMUNITY),
        audio={"chunk_size": RATE},
        training={"target_instrument": None, "instruments": list(STEMS)},
    )
    model = folder / "model"
    given = (str(folder / "stems.ckpt"), str(model), "--settings", str(settings))
    answer = works("import", *given, "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == {
        "folder": str(model),
        "kind": "bs_roformer",
        "outputs": 4,
        "stems": list(STEMS),
        "sample_rate": RATE,
        "chunk_seconds": 1.0,
    }
    return model


@pytest.fixture(scope="module")
def adapted(works: Works, imported: Path, tmp_path_factory: pytest.TempPathFactory) -> Adapted:
    home = tmp_path_factory.mktemp("adapted") / "home"
    answer = works(*_order(works.archives, imported, home))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert works.states(works.last_run(home)["id"]) == dict.fromkeys(STAGES, "Completed")
    return Adapted(works.archives, imported, home, json.loads(answer.stdout))


def test_it_separates_under_its_own_names(works: Works, imported: Path, tmp_path: Path) -> None:
    noise = 0.1 * np.random.default_rng(1).standard_normal((2, RATE))
    write_audio(tmp_path / "song.wav", noise.astype(np.float32), RATE, "FLOAT")
    answer = works("separate", str(imported), str(tmp_path / "song.wav"), str(tmp_path / "out"))
    assert answer.returncode == 0, answer.stderr
    assert {path.stem for path in (tmp_path / "out" / "song").iterdir()} == set(STEMS)


def test_it_is_scored_as_given_and_fine_tuned(adapted: Adapted) -> None:
    rows = adapted.outcome["scores"]["rows"]
    assert {row[0] for row in rows} == {"fine-tuned", "as given", "mixture / 4"}
    page = Path(adapted.outcome["report"]).read_text()
    assert "fine-tuned against as given:" in page
    assert "the checkpoint stems.ckpt" in page
    assert "has not been counted yet" not in page
    assert "No channel map" not in page
    weights = [folder / "model.safetensors" for folder in (adapted.model, adapted.run / MODEL)]
    assert hash_file(weights[0]) != hash_file(weights[1]), "fine-tuning changed it"


def test_done_stays_done_where_its_folder_is_moved(
    works: Works, adapted: Adapted, tmp_path: Path
) -> None:
    """The home has a copy."""
    adapted.model.rename(tmp_path / "moved")
    try:
        answer = works(*adapted.order)
        statuses = required_studies(open_home(str(adapted.home)))["adapt_smoke"]
    finally:
        (tmp_path / "moved").rename(adapted.model)
    assert answer.returncode == 0, answer.stderr
    assert works.states(works.last_run(adapted.home)["id"]) == dict.fromkeys(STAGES, "Cached")
    assert {status.label: status.state for status in statuses} == dict.fromkeys(STAGES, "done")


def test_it_is_exported_with_what_it_was_made_from(
    works: Works, adapted: Adapted, tmp_path: Path
) -> None:
    answer = works("export", str(adapted.run), str(tmp_path / "exported"))
    assert answer.returncode == 0, answer.stderr
    card = (tmp_path / "exported" / "README.md").read_text()
    assert "| Made from | the checkpoint stems.ckpt, under that one's licence |" in card
    assert "| this model | uSDR |" in card
    lineage = json.loads((tmp_path / "exported" / "lineage.json").read_text())
    assert "check-model" in {step["stage"] for step in lineage["steps"].values()}
    rows = read_table(tmp_path / "exported" / "ATTRIBUTION.csv", TrainedOn)
    assert {row.use for row in rows} == {"fine-tuning"}
    assert "made from the checkpoint stems.ckpt: which music that was trained on" in card


def test_an_imported_model_is_exported_as_what_it_is(
    works: Works, imported: Path, tmp_path: Path
) -> None:
    answer = works("export", str(imported), str(tmp_path / "exported"))
    assert answer.returncode == 0, answer.stderr
    card = (tmp_path / "exported" / "README.md").read_text()
    assert "| Imported from | the checkpoint stems.ckpt |" in card
    assert "Fine-tuned on" not in card
    assert "Imported from stems.ckpt: which music that was trained on" in card
    names = {path.name for path in (tmp_path / "exported").iterdir()}
    assert names == {"README.md", "model.json", "model.safetensors"}


def test_a_study_held_to_licences_takes_no_model_that_says_nothing(
    works: Works, adapted: Adapted, tmp_path: Path
) -> None:
    held = ["--set", 'licences=["*MUSDB18-HQ*"]']
    order = [*_order(adapted.archives, adapted.model, tmp_path / "home"), *held]
    answer = works("plan", *order[1:])
    assert answer.returncode != 0
    assert "no ATTRIBUTION.csv beside it says what it was trained on" in answer.stderr
    exported = tmp_path / "exported"
    assert works("export", str(adapted.run), str(exported)).returncode == 0
    answer = works("plan", *_order(adapted.archives, exported, tmp_path / "home")[1:], *held)
    assert answer.returncode == 0, answer.stderr
    other = ["--set", 'licences=["CC0"]', "--set", "musdb.licence=CC0"]
    answer = works("plan", *_order(adapted.archives, exported, tmp_path / "home")[1:], *other)
    assert "it was trained on music under 'Educational and non-commercial" in answer.stderr

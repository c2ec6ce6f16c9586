"""What a model's folder says of itself is read without torch, and without its weights."""

from pathlib import Path

import pytest

from storage.errors import CheckpointError
from storage.files import read_json, write_json
from storage.records import STEMS
from training.config import TrainConfig
from training.model_folder import find_model, read_explanation, settings_of, stems_of


@pytest.fixture
def folder(tmp_path: Path, mixit: TrainConfig) -> Path:
    write_json(tmp_path / "model" / "model.json", {"model": mixit.model.model_dump(mode="json")})
    return tmp_path / "model"


def test_settings_are_the_models_own(folder: Path, mixit: TrainConfig) -> None:
    assert settings_of(folder) == mixit.model


@pytest.mark.parametrize("inside", [".", "model", "result/model"])
def test_a_model_is_found_in_its_folder_and_in_a_run(tmp_path: Path, inside: str) -> None:
    folder = tmp_path / "given" / inside
    folder.mkdir(parents=True)
    (folder / "model.safetensors").touch()
    assert find_model(tmp_path / "given") is None, "its explanation is written last"
    write_json(folder / "model.json", {})
    assert find_model(tmp_path / "given") == folder


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[1]", r"model\.json is no explanation of a model"),
        ("{", "holds no model"),
        ("{}", "describes no model that this version knows"),
        ('{"model": {"kind": "umx"}}', r"'model\.kind' = 'umx': there are bs_locoformer"),
    ],
)
def test_what_describes_no_model_is_named(folder: Path, text: str, fault: str) -> None:
    (folder / "model.json").write_text(text)
    with pytest.raises(CheckpointError, match=fault):
        settings_of(folder)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no model at .*nowhere; give the folder"):
        read_explanation(tmp_path / "nowhere")


def test_outputs_have_names_where_their_explanation_names_them(folder: Path) -> None:
    note = read_json(folder / "model.json")
    supervised = {"objective": {"kind": "supervised"}}
    two = {**note["model"], "outputs": 2}
    for given, expected in (
        ({}, ()),
        ({"stems": ["vocals", "rest"]}, ("vocals", "rest")),
        ({"recipe": supervised}, STEMS),
        ({"recipe": supervised, "model": two}, ()),
    ):
        write_json(folder / "model.json", {**note, **given})
        assert stems_of(folder) == expected

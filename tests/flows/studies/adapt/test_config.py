"""What a model has to be for the study, and what is refused before anything runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from flows.studies.adapt.config import UNSET
from flows.studies.adapt.recipes import RECIPES
from flows.studies.request import RunRequest
from flows.studies.runner import StageStatus
from storage.config import Json
from storage.errors import ConfigError
from storage.files import write_json
from storage.records import STEMS
from training.config import TrainConfig
from training.models.bs_roformer.config import MICRO as ROFORMER


def write_model(folder: Path, outputs: int = 4, **changes: Any) -> Path:
    """Write a model's folder; a plan does not read its weights."""
    model = {**ROFORMER.model_dump(mode="json"), "outputs": outputs}
    settings = {name: changes.pop(name) for name in model.keys() & changes.keys()}
    explanation: Json = {"model": {**model, **settings}, "sha256": "0" * 64, **changes}
    write_json(folder / "model.json", explanation)
    (folder / "model.safetensors").touch()
    return folder


def look(tmp_path: Path, *settings: str, model: object = None) -> dict[str, StageStatus]:
    """Return the stages of a plan by their labels."""
    given = f"model={model or tmp_path / 'model'}"
    home = str(tmp_path / "home")
    found = RunRequest("adapt", "adapt_smoke", [given, *settings], home).look()
    return {status.label: status for status in found}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_json_and_is_named_as_it_is_called(name: str) -> None:
    config = RECIPES[name]()
    again = type(config).parse(json.loads(json.dumps(config.model_dump(mode="json"))))
    assert again == config
    assert config.name == name
    assert config.finetuning.model == UNSET


@pytest.mark.parametrize("stems", [None, list(STEMS)])
def test_as_many_outputs_as_stems_are_scored_as_given(tmp_path: Path, stems: object) -> None:
    write_model(tmp_path / "model", stems=stems)
    found = look(tmp_path)
    assert "evaluate as given" in found
    assert "select channels" not in found
    tune = found["finetune"].config
    assert isinstance(tune, TrainConfig)
    assert tune.model == ROFORMER


def test_of_more_outputs_without_names_some_are_chosen(tmp_path: Path) -> None:
    write_model(tmp_path / "model", 12)
    found = look(tmp_path)
    assert "select channels" in found
    assert "evaluate as given" not in found
    tune = found["finetune"].config
    assert isinstance(tune, TrainConfig)
    assert tune.model == ROFORMER


def test_other_stems_are_those_of_the_model(tmp_path: Path) -> None:
    write_model(tmp_path / "model", 2, stems=["vocals", "other"])
    found = look(
        tmp_path,
        'stems=["vocals","other"]',
        'musdb.mix={"other":["bass","drums","other"]}',
    )
    tune = found["finetune"].config
    assert isinstance(tune, TrainConfig)
    assert tune.model.outputs == 2


def test_a_model_is_its_content_wherever_it_is(tmp_path: Path) -> None:
    def key(folder: str, **changes: Any) -> str:
        write_model(tmp_path / folder, **changes)
        work = look(tmp_path, model=tmp_path / folder)["check model"].work
        assert work
        return work.key

    assert key("one") == key("two/result/model")
    assert key("one") != key("three", sha256="1" * 64)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sample_rate": 16_000}, r"works at 16000 Hz, and songs are prepared at 44100 Hz; choose"),
        ({"audio_channels": 1}, "has 1 audio channels, and songs are prepared with 2; choose a st"),
        ({"outputs": 3}, r"has 3 outputs, fewer than the 4 of stems; give '--set stems="),
        (
            {"outputs": 2, "stems": ["vocals", "other"]},
            r"""outputs are \["vocals","other"\], .*'--set stems=\["vocals","other"\]'""",
        ),
        ({"stems": [*STEMS[1:], STEMS[0]]}, r'outputs are \["drums","vocals","other","bass"\]'),
        ({"kind": "umx"}, r"'model\.kind' = 'umx': there are bs_locoformer"),
        ({"sha256": None}, r"holds no model\.safetensors whose sha256 its model\.json contains"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    folder = write_model(tmp_path / "model", **changes)
    with pytest.raises(ConfigError, match=f"model = {folder}.*{words}"):
        look(tmp_path)


def test_a_path_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model = .*nowhere holds no model\.json; give the fold"):
        look(tmp_path, model=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"model names no model; .*--set model=FOLDER"):
        RunRequest("adapt", "adapt_smoke", [], str(tmp_path)).look()
    folder = write_model(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"holds no model\.safetensors"):
        look(tmp_path)


def test_the_models_settings_are_its_own(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"finetuning\.model is set, .*--set model=FOLDER"):
        RECIPES["adapt"]().override(["finetuning.model.width=32"])


def test_an_objective_that_the_model_does_not_suit_is_refused(tmp_path: Path) -> None:
    """The placeholder model can be frozen; the given one cannot."""
    folder = tmp_path / "model"
    write_json(
        folder / "model.json", {"model": {"kind": "hdemucs", "outputs": 4}, "sha256": "0" * 64}
    )
    (folder / "model.safetensors").touch()
    with pytest.raises(ConfigError, match=r"finetuning of the given model.*freeze_separator"):
        look(tmp_path, "finetuning.freeze_separator=true")


def test_a_path_is_passed_on_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    request = RunRequest("adapt", "adapt_smoke", ["model=model"], "home")
    assert f"model={tmp_path / 'model'}" in request.overrides

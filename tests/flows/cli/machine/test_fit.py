"""What fits is measured by a child, shown, and taken as settings."""

import io
import json
from typing import Any

import pytest
from rich.console import Console

from flows.cli.machine.fit import fit, measure
from flows.cli.output import View
from flows.studies.mixit.recipes import RECIPES
from storage.errors import ConfigError, MachineError


def shown(name: str, memory_gb: float, as_json: bool) -> str:
    console = Console(file=io.StringIO(), width=200, _environ={})
    assert isinstance(console.file, io.StringIO)
    fit(name, memory_gb, View(console, as_json))
    return console.file.getvalue()


@pytest.mark.slow
def test_a_recipe_is_measured_and_its_settings_are_taken() -> None:
    found: dict[str, Any] = json.loads(shown("smoke", 16, as_json=True))
    study = RECIPES["smoke"]()
    for job, config in (("pretraining", study.pretraining), ("finetuning", study.finetuning)):
        assert found[job]["largest"] == found[job]["examples"] == config.data.batch_size
    assert [setting.split()[0] for setting in found["settings"]] == ["--set", "--set"]
    taken = study.override(setting.split()[1] for setting in found["settings"])
    assert taken.pretraining.runtime.micro_batch == study.pretraining.data.batch_size
    assert taken.digest() == study.digest(), "it changes no result"


def test_it_is_a_table_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(config: object, memory_gb: float) -> dict[str, Any]:
        return {
            "device": "NVIDIA H200", "memory_gb": 141.0, "examples": 128, "largest": 19,
            "micro_batch": 19, "passes": 7,
        }  # fmt: skip

    monkeypatch.setattr("flows.cli.machine.fit.measure", measured)
    text = shown("medium", 0.0, as_json=False)
    assert "paper_medium" in text
    assert "7 x 19" in text
    assert "--set pretraining.runtime.micro_batch=19\n" in text


def test_the_childs_words_are_ours() -> None:
    config = RECIPES["smoke"]().pretraining
    with pytest.raises(MachineError, match=r"not even one example.*give it more"):
        measure(config, 0.1)
    with pytest.raises(ConfigError, match="unknown recipe 'huge'"):
        shown("huge", 0.0, as_json=True)

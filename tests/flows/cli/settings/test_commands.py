"""`settings` and `recipe`: what they print for people and for machines, and what they refuse."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from flows.__main__ import app
from flows.cli.output import View
from flows.cli.settings.recipes import show_differences, show_recipes
from flows.cli.settings.show_settings import show_settings, show_variables
from flows.studies.recipe_file import find_recipe
from flows.studies.table import FLOWS, RECIPES, STUDIES, named
from storage.environment import VARIABLES
from storage.errors import ConfigError

Shown = Callable[[View], None]


def text_of(shown: Shown, as_json: bool = False, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, _environ={})
    shown(View(console, as_json))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width or as_json
    return "\n".join(line.rstrip() for line in lines) + "\n"


def json_of(shown: Shown) -> Any:
    return json.loads(text_of(shown, as_json=True))


def command(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_a_word_finds_settings_by_path_first_and_by_text() -> None:
    found = json_of(lambda view: show_settings("HOP", "", "", view))
    named = [any("hop" in path for path in one["paths"]) for one in found]
    assert named == sorted(named, reverse=True)
    assert True in named
    assert False in named
    assert all("hop" in one["text"].lower() for one, it in zip(found, named, strict=True) if not it)


def test_every_setting_fits_into_80_columns() -> None:
    lines = text_of(lambda view: show_settings("", "", "", view)).splitlines()
    assert max(map(len, lines)) <= 80
    assert "pretraining.model.outputs," in lines
    assert "finetuning.model.outputs  (kind bs_locoformer)" in lines
    assert "    Hop of the STFT; the paper's 10 ms." in lines


def test_a_recipe_shows_where_it_differs() -> None:
    lines = text_of(lambda view: show_settings("model.width", "demo", "", view)).splitlines()
    assert "    the recipe has pretraining.model.width = 32" in lines
    found = json_of(lambda view: show_settings("model.width", "demo", "", view))
    held = {one["kinds"][0]: one.get("recipe") for one in found}
    both = {"pretraining.model.width": 32, "finetuning.model.width": 32}
    assert held == {"bs_locoformer": both, "bs_roformer": None}, "of its own kind alone"
    same = text_of(lambda view: show_settings("gates.action", "demo", "", view))
    assert "the recipe has" not in same


def test_a_flow_shows_its_own_study_s() -> None:
    found = json_of(lambda view: show_settings("model", "", "adapt", view))
    paths = {path for one in found for path in one["paths"]}
    assert "model" in paths
    assert not [path for path in paths if path.startswith("pretraining.")]
    with pytest.raises(ConfigError, match="is of study adapt, but"):
        show_settings("", "demo", "adapt", View(Console(), False))


@pytest.mark.parametrize(
    ("word", "said"),
    [("warmup_stps", "did you mean 'warmup_steps'"), ("xyzzy", "leave the word out")],
)
def test_a_word_that_nothing_has(word: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"no setting has '{word}'.*{said}"):
        show_settings(word, "", "", View(Console(), False))
    with pytest.raises(ConfigError, match=f"no variable has '{word}'"):
        show_variables(word, View(Console(), False))


def test_variables() -> None:
    found = json_of(lambda view: show_variables("", view))
    assert [one["name"] for one in found] == [one.name for one in VARIABLES]
    lines = text_of(lambda view: show_variables("checksums", view)).splitlines()
    assert lines[0] == "STEMWORKS_S3_CHECKSUMS"
    assert lines[1].startswith("    default when_required; read by every command")
    assert max(map(len, lines)) <= 80
    with pytest.raises(ConfigError, match="leave out --recipe and --flow"):
        command("settings", "--variables", "--recipe", "demo")


def test_recipes_are_listed_with_their_flows() -> None:
    found = json_of(lambda view: show_recipes("", view))
    assert [one["recipe"] for one in found] == list(RECIPES)
    text = text_of(lambda view: show_recipes("", view))
    assert all(flow in text for flow in FLOWS)
    only = json_of(lambda view: show_recipes("adapt", view))
    assert {one["study"] for one in only} == {"adapt"}
    assert {one["recipe"] for one in only} == set(STUDIES[1].recipes)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_shown_recipe_is_a_recipe_file(tmp_path: Path, options: list[str]) -> None:
    settings = ["--set", "name=mine", "--set", "fma.seed=3"]
    file = tmp_path / ("shown.json" if options else "shown.toml")
    file.write_text(command("recipe", "show", "demo", *settings, *options), encoding="utf-8")
    wanted = named("demo").override(["name=mine", "fma.seed=3"])
    assert find_recipe(str(file)).config == wanted
    again = command("recipe", "show", str(file), *options)
    assert again == file.read_text(encoding="utf-8")


def test_two_recipes_are_compared(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('recipe = "demo"\nsynthesis = "none"\npretraining.optim.lr = 1.0')
    found = json_of(lambda view: show_differences("demo", str(file), view))
    by_path = {one["setting"]: one for one in found}
    assert by_path["name"] == {"setting": "name", "first": "demo", "second": "mine"}
    assert by_path["pretraining.optim.lr"]["second"] == 1.0
    assert by_path["synthesis"] == {"setting": "synthesis", "second": None}
    assert by_path["synthesis.seed"] == {"setting": "synthesis.seed", "first": 0}
    text = text_of(lambda view: show_differences("demo", "smoke", view))
    assert max(map(len, text.splitlines())) <= 80
    assert "pretraining.loop.validation_batches" in text, "no path is cut short"
    assert json_of(lambda view: show_differences("demo", "demo", view)) == []
    assert command("recipe", "diff", "demo", "demo") == "They have the same settings.\n"

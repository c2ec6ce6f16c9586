"""Recipe files: what a file changes or gives in full, what it is called, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from flows.engine.flow import stemworks, title
from flows.studies.claims import claim
from flows.studies.recipe_file import RECIPE, STUDY, find_recipe
from flows.studies.request import RunRequest
from flows.studies.table import STUDIES, named
from storage.errors import ConfigError, HomeConflictError
from storage.home.layout import Home
from training.settings.optimisers import AdamConfig


def written(folder: Path, text: str, name: str = "mine.toml") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_a_name_is_a_recipe_of_its_study() -> None:
    for study in STUDIES:
        for name, recipe in study.recipes.items():
            found = find_recipe(name)
            assert (found.study, found.config, found.named) == (study, recipe(), name)
            assert found.file is None
    with pytest.raises(ConfigError, match="unknown recipe 'dmeo'"):
        find_recipe("dmeo")


def test_no_study_has_a_setting_that_a_file_could_not_name() -> None:
    assert not {RECIPE, STUDY} & {name for study in STUDIES for name in study.config.model_fields}


@pytest.mark.parametrize(
    ("text", "assignments"),
    [
        ("", []),
        ("[pretraining.optim]\nlr = 1e-4", ["pretraining.optim.lr=1e-4"]),
        ("pretraining.optim = {lr = 1, clip_norm = 2}",
         ["pretraining.optim.lr=1", "pretraining.optim.clip_norm=2"]),
        ('"pretraining.optim.lr" = 0.5', ["pretraining.optim.lr=0.5"]),
        ("[pretraining.optim]\nweight_decay = 3.0\nkind = 'adam'",
         ["pretraining.optim.weight_decay=3.0", "pretraining.optim.kind=adam"]),
        ('synthesis = "none"', ["synthesis=null"]),
        ("stems = ['a', 'b']\nmusdb.mix.a = ['x', 'y']",
         ['stems=["a","b"]', 'musdb.mix={"a": ["x", "y"]}']),
        ("[[tables.sizes]]\nname = 'one'\nsettings = ['fma.seed=3']",
         ['tables.sizes=[{"name": "one", "settings": ["fma.seed=3"]}]']),
        ("gates.approval_gpu_hours = 'none'", ["gates.approval_gpu_hours=null"]),
        ("data.root = 'none'", ['data.root="none"']),
    ],
)  # fmt: skip
def test_a_file_changes_a_recipe_as_set_does(
    tmp_path: Path, text: str, assignments: list[str]
) -> None:
    found = find_recipe(written(tmp_path, f'recipe = "demo"\n{text}'))
    wanted = named("demo").override([*assignments, "name=mine"])
    assert found.config == wanted
    assert found.config.digest() == wanted.digest()
    assert (found.study, found.named, found.file) == (STUDIES[0], "demo", tmp_path / "mine.toml")


def test_settings_within_one_that_was_none_are_given_whole(tmp_path: Path) -> None:
    found = find_recipe(written(tmp_path, 'recipe = "paper"\n[synthesis]\ntracks = 3'))
    assert found.config.synthesis is not None
    assert found.config.synthesis.tracks == 3


def test_a_whole_file_leaves_out_what_is_default(tmp_path: Path) -> None:
    whole = {STUDY: "adapt", **named("adapt").model_dump(mode="json")}
    del whole["limits"], whole["name"]
    whole["finetuning"]["optim"] = {"kind": "adam"}
    found = find_recipe(written(tmp_path, json.dumps(whole), "gentle.json"))
    assert (found.study.name, found.named) == ("adapt", "adapt")
    assert found.config.name == "gentle"
    assert found.config.limits == named("adapt").limits
    assert found.config.held("finetuning.optim") == AdamConfig()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "says neither which recipe it changes"),
        ('recipe = "demo"\nstudy = "mixit"', "keep one of the two"),
        ('recipe = "dmeo"', "unknown recipe 'dmeo'; did you mean 'demo'"),
        ("recipe = 3", "unknown recipe '3'; there are demo, "),
        ('study = "mixt"', "unknown study 'mixt'; did you mean 'mixit'"),
        ('recipe = "demo"\npretraning.loop.steps = 3', "did you mean 'pretraining'"),
        ('recipe = "demo"\n[pretraining.optim]\nclip_norn = 3',
         "unknown setting 'pretraining.optim.clip_norn': pretraining.optim has no 'clip_norn'; did "
         "you mean 'clip_norm'"),
        ('recipe = "demo"\n[pretraining.optim]\nlr = -1',
         "setting 'pretraining.optim.lr' = -1: Input should be greater than 0"),
        ('recipe = "demo"\nfma.engine = "ray"',
         "setting 'fma.engine' = 'ray': Input should be 'local' or 'dask'"),
        ('recipe = "demo"\nname = 2026-01-01', "no setting is a date"),
        ('study = "mixit"', "setting 'pretraining' is missing; add it"),
        ('recipe = "demo"\n[loop]\n= 3', "is no TOML: .*line 3"),
        ('recipe = "demo"\n\nx', "is no TOML: .*line 3, the last"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=said) as caught:
        find_recipe(path)
    assert f"recipe file {path}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pretraining": {"optim": {"kind": "adamw", "clip_norn": 3}}},
         "pretraining.optim has no 'clip_norn'; did you mean 'clip_norm'"),
        ({"limit": {}}, "the setting has no 'limit'; did you mean 'limits'"),
        ({"synthesis": {"trakcs": 3}}, "synthesis has no 'trakcs'; did you mean 'tracks'"),
        ({"tables": {"sizes": [{"nam": "x"}]}}, "tables.sizes.0 has no 'nam'; did you mean 'name'"),
    ],
)  # fmt: skip
def test_a_whole_file_s_unknown_keys_are_refused_with_the_nearest(
    tmp_path: Path, change: Any, said: str
) -> None:
    whole = {STUDY: "mixit", **named("demo").model_dump(mode="json"), **change}
    with pytest.raises(ConfigError, match=said):
        find_recipe(written(tmp_path, json.dumps(whole), "mine.json"))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    with pytest.raises(ConfigError, match=r"there is no recipe file .*recipe show demo > "):
        find_recipe(str(missing))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\); give a file"):
        find_recipe(str(tmp_path / "folder.toml"))
    (tmp_path / "binary.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(ConfigError, match="is no text in UTF-8"):
        find_recipe(str(tmp_path / "binary.toml"))
    with pytest.raises(ConfigError, match=r"is no JSON: .*\(at line 2, column 1\)"):
        find_recipe(written(tmp_path, '{"recipe":\n', "broken.json"))
    with pytest.raises(ConfigError, match=r"holds \[\]; give settings by their names"):
        find_recipe(written(tmp_path, "[]", "list.json"))
    with pytest.raises(ConfigError, match="'My Own', the file's own, is none; add a name"):
        find_recipe(written(tmp_path, 'recipe = "demo"', "My Own.toml"))
    assert (
        find_recipe(written(tmp_path, 'recipe="demo"\nname="x"', "My Own.toml")).config.name == "x"
    )


def test_a_run_takes_a_file_s_settings_with_it(tmp_path: Path) -> None:
    """They are not read again, wherever and whenever it runs."""
    path = written(tmp_path, 'recipe = "smoke"\nfma.seed = 7')
    request = RunRequest("fma", path, ["limits.resumes=5"], "home")
    assert request.recipe_name == "mine.toml"
    before = request.config
    (tmp_path / "mine.toml").unlink()
    given = request.parameters("/home", request.overrides)
    assert (given["recipe"], given["part"], given["home"]) == ("smoke", "fma", "/home")
    plain = json.loads(json.dumps(given))
    validated = stemworks.validate_parameters(plain)
    assert validated["config"].override(given["overrides"]) == before
    assert before.name == "mine"
    assert before.held("fma.seed") == 7
    assert title(given) == title(plain) == "fma mine"
    assert title({**plain, "overrides": ["name=other"]}) == "fma other"


def test_a_recipe_s_run_keeps_to_its_name() -> None:
    request = RunRequest("fma", "smoke", [], "home")
    assert request.parameters("/home", []).keys() == {"recipe", "overrides", "home", "part"}
    assert request.recipe_name == "smoke"
    assert request.config.digest() == named("smoke").digest()


def test_a_home_tells_a_file_s_study_from_its_recipe_s(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    claim(home, named("smoke"), "fma")
    path = written(tmp_path, 'recipe = "smoke"\nfma.seed = 7')
    claim(home, find_recipe(path).config, "fma")
    changed = find_recipe(written(tmp_path, 'recipe = "smoke"\nfma.seed = 8')).config
    with pytest.raises(HomeConflictError, match=r"'mine' with other settings \(fma.seed: 7 -> 8\)"):
        claim(home, changed, "fma")

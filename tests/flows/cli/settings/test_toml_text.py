"""A recipe that is written as TOML reads as the same recipe again, whatever is set in it."""

import tomllib
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.cli.settings.toml_text import WIDTH, toml_of
from flows.config import StudyConfig
from flows.studies.recipe_file import find_recipe
from flows.studies.study import Study
from flows.studies.table import RECIPES, study_of_recipe

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
POSITIVE = st.floats(min_value=1e-12, max_value=1e12, allow_nan=False)
KINDS = {
    "finetuning.schedule": ({"kind": "cosine", "final": 0.25}, {"kind": "plateau"}),
    "finetuning.optim": ({"kind": "adam", "betas": [0.5, 1e-9]},),
    "finetuning.start": (
        {"kind": "prefixes", "prefixes": {"": "", 'a "b".': "c\n", "plain": "'"}},
    ),
}
"""Other kinds of settings than recipes have."""


@st.composite
def configurations(draw: st.DrawFn) -> tuple[Study[Any], StudyConfig]:
    """Draw a recipe of any study in which settings of every form are changed."""
    name = draw(st.sampled_from(sorted(RECIPES)))
    study, values = study_of_recipe(name), RECIPES[name]().model_dump(mode="json")
    values["data"]["root"] = draw(TEXT)
    values["limits"]["training_hours"] = draw(POSITIVE)
    values["gates"]["approval_gpu_hours"] = draw(st.none() | POSITIVE)
    values["musdb"]["sha1"] = draw(st.none() | TEXT.filter(lambda text: text != "none"))
    values["musdb"]["validation"] = draw(st.lists(TEXT, max_size=9))
    values["evaluation"]["separate"]["hop_seconds"] = draw(st.none() | POSITIVE)
    values["evaluation"]["museval"] = draw(st.booleans())
    for path, others in KINDS.items():
        owner, _, field = path.partition(".")
        values[owner][field] = draw(st.sampled_from([values[owner][field], *others]))
    if "tables" in values:
        row = st.fixed_dictionaries(
            {"name": st.just("a-1"), "settings": st.lists(TEXT, max_size=3)}
        )
        values["tables"]["sizes"] = draw(st.lists(row, max_size=3))
    return study, study.config.parse(values)


def read_back(text: str) -> StudyConfig:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "written.toml"
        path.write_text(text, encoding="utf-8", newline="")
        return find_recipe(str(path)).config


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_reads_as_it_was(name: str) -> None:
    study, config = study_of_recipe(name), RECIPES[name]()
    found = read_back(toml_of(study, config))
    assert type(found) is type(config)
    assert found == config
    assert found.digest() == config.digest()


@settings(max_examples=40, deadline=None)
@given(configurations())
def test_whatever_is_set_reads_as_it_was(drawn: tuple[Study[Any], StudyConfig]) -> None:
    study, config = drawn
    found = read_back(toml_of(study, config))
    assert found == config
    assert found.digest() == config.digest()


def test_every_setting_stands_below_its_meaning_unit_and_default() -> None:
    text = toml_of(study_of_recipe("demo"), RECIPES["demo"]())
    lines = text.splitlines()
    at = lines.index("hop_seconds = 5")
    assert lines[at - 1] == "# [whole number, 1 or more; seconds; default 5]"
    assert lines[at - 3].startswith("# From the start of one clip to the start of the next")
    assert max(map(len, lines)) <= WIDTH + 2
    bare = [
        line
        for above, line in pairwise(lines)
        if " = " in line and line[0].isalpha() and not above.startswith("# [")
    ]
    assert bare == ['study = "mixit"']


def test_the_setting_that_chooses_a_kind_names_the_others() -> None:
    text = toml_of(study_of_recipe("demo"), RECIPES["demo"]())
    assert "one of exponential, cosine, plateau, constant" in text
    assert tomllib.loads(text)["fma"]["sha1"] == "none"

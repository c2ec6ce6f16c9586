"""Every setting of every study is found, and says what it means and in which unit."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from flows.cli.settings.pages import settings_markdown, variables_markdown
from flows.cli.settings.reference import Entry, described, entries_of, groups_of, shown, unit_of
from flows.studies.table import RECIPES, STUDIES
from storage.config import UNITS, Config, configs_in
from storage.environment import VARIABLES

ENTRIES = entries_of(groups_of())
FLOATS_WITHOUT_UNIT = {
    "betas", "clip_norm", "decay", "dropout", "attention_dropout", "drop_probability", "ema_decay",
    "error_budget", "factor", "final", "floor", "frequency_embedding", "lr", "maximum_failures",
    "max_clipped_share", "max_correlation", "maximum_silence", "minimum", "quantile", "test_share",
    "validation_share", "weight_decay", "zero", "zero_reference_weight",
}  # fmt: skip
"""Shares, rates and weights, by hand; `floor` and `zero` are in the unit of another setting."""


def reachable(owner: type[Config], seen: set[type[Config]]) -> Iterator[type[Config]]:
    if owner not in seen:
        seen.add(owner)
        yield owner
        for field in owner.model_fields.values():
            for one in configs_in(field.annotation):
                yield from reachable(one, seen)


CLASSES = [one for seen in [set[type[Config]]()] for study in STUDIES
           for one in reachable(study.config, seen)]  # fmt: skip


def entry(path: str, kind: str = "") -> Entry:
    [found] = [one for one in ENTRIES if path in one.paths and kind in (*one.kinds, "")]
    return found


def leaves(config: Config, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield every path of a configuration, by its values, and the kind of what it is in."""
    for name in type(config).model_fields:
        held = getattr(config, name)
        if isinstance(held, Config):
            yield from leaves(held, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(getattr(config, "kind", ""))


@pytest.mark.parametrize("owner", CLASSES, ids=lambda one: one.__name__)
def test_every_setting_has_a_docstring_that_is_a_sentence(owner: type[Config]) -> None:
    assert owner.__doc__
    for name in owner.model_fields:
        text = described(owner, name)
        assert text.rstrip(")").endswith((".", "?", "`")), f"{owner.__name__}.{name}: {text!r}"
        assert len(text) > 3, f"{owner.__name__}.{name}"


def test_every_number_with_a_dimension_has_a_unit() -> None:
    """Of the floating-point ones, those that have none are few, and named here."""
    bare = {
        name
        for owner in CLASSES
        for name, field in owner.model_fields.items()
        if re.search(r"\bfloat\b", str(field.annotation)) and not unit_of(name, field)
    }
    assert bare == FLOATS_WITHOUT_UNIT


def test_a_unit_is_the_last_word_of_a_name_or_named() -> None:
    assert entry("musdb.activity.hop_seconds").setting.unit == UNITS["seconds"] == "seconds"
    assert entry("fma.filters.silence_db").setting.unit == "dBFS", "against its name"
    assert entry("pretraining.loop.validate_every").setting.unit == "steps"
    assert entry("fma.seed").setting.unit == ""


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_value_of_every_recipe_is_an_entry(name: str) -> None:
    known = {(path, kind) for one in ENTRIES for path in one.paths for kind in one.kinds or [""]}
    missing = {
        path for path, kind in leaves(RECIPES[name]()) if not {(path, ""), (path, kind)} & known
    }
    assert not missing


def test_a_setting_of_several_places_and_kinds_is_one_entry() -> None:
    hop = entry("pretraining.model.hop", "bs_roformer")
    assert hop.paths == ("pretraining.model.hop", "finetuning.model.hop")
    assert hop.setting.summary == "whole number, 1 or more; samples; default 441"
    assert entry("finetuning.model.sample_rate").kinds == (), "all kinds have it, and alike"
    choice = entry("finetuning.schedule.kind").setting
    assert choice.type == "one of exponential, cosine, plateau, constant"
    assert "`cosine`: Half a cosine from the peak" in choice.text


@pytest.mark.parametrize(
    ("path", "type_"),
    [
        ("name", "text"),
        ("synthesis", "none or settings"),
        ("from_scratch", "true or false"),
        ("stems", "list of texts, at least one"),
        ("musdb.mix", "texts, each with its list of texts, at least one"),
        ("fma.connections", "whole number from 1 to 16"),
        ("gates.approval_gpu_hours", "none or number, 0 or more"),
        ("pretraining.schedule.decay", "number, above 0, 1 or less"),
        ("pretraining.optim.betas", "number from 0 to 1, then number from 0 to 1"),
        ("pretraining.model.head_width", "whole number, 1 or more, a multiple of 2"),
        ("pretraining.start.prefixes", "texts, each with its text"),
        ("tables.seeds", "list, each whole number, 0 or more"),
        ("tables.sizes[].name", "text"),
    ],
)
def test_types_in_words(path: str, type_: str) -> None:
    assert entry(path).setting.type == type_


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        (True, "true"),
        (1e-05, "1e-05"),
        ("ä", '"ä"'),
        ([1, 2], "[1, 2]"),
        (list(range(100)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ...], 100 in all"),
        (["x" * 80], "[...], 1 in all"),
    ],
)
def test_values_as_people_read_them(value: Any, text: str) -> None:
    assert shown(value) == text


def test_what_stands_within_a_default_is_its_class_s_own() -> None:
    """So that a setting's default is the same wherever it stands."""
    for owner in CLASSES:
        for name, field in owner.model_fields.items():
            held = field.get_default(call_default_factory=True)
            if isinstance(held, Config):
                assert held == type(held)(), f"{owner.__name__}.{name}"


def test_what_may_be_none_is_none_by_default() -> None:
    """So that leaving it out and writing "none" are the same, in a file that gives all."""
    for one in ENTRIES:
        if one.setting.type.startswith("none or"):
            assert one.setting.default == "null", one.paths


def test_pages_have_every_setting_and_every_variable() -> None:
    page = settings_markdown()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) == sum(len(group.settings) for group in groups_of())
    for line in [line for line in page.splitlines() if line.startswith("|")]:
        assert len(re.findall(r"(?<!\\)\|", line)) == 6, line
    assert "## `pretraining.model`, `finetuning.model` of kind `hdemucs`" in page
    assert "| `hop_seconds` | whole number, 1 or more | seconds | `5` | From the start" in page
    table = variables_markdown()
    assert [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")] == [
        one.name for one in VARIABLES
    ]

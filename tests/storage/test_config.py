"""Configuration: frozen, refused when misspelled, overridden by dotted paths, digested."""

import json
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import PositiveFloat, ValidationError

from storage.config import Change, Config, changes, differences, digest_of
from storage.errors import ConfigError


class Optim(Config):
    lr: PositiveFloat = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)


class Recipe(Config):
    RUNTIME: ClassVar[frozenset[str]] = frozenset({"workers"})

    name: str = "small"
    optim: Optim = Optim()
    workers: int = 2


def test_values_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Recipe().name = "large"


def test_json_round_trips() -> None:
    recipe = Recipe(optim=Optim(lr=0.1))
    assert Recipe.parse(json.loads(recipe.model_dump_json())) == recipe


def test_overrides_reach_any_depth() -> None:
    recipe = Recipe().override(["optim.lr=3e-4", "name=big one", "optim.betas=[0.5, 0.6]"])
    assert recipe == Recipe(name="big one", optim=Optim(lr=3e-4, betas=(0.5, 0.6)))
    assert Recipe() == Recipe(name="small")


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("optim.lr", "has no '='"),
        ("optim.lrs=1", "did you mean 'lr'"),
        ("optimiser.lr=1", "did you mean 'optim'"),
        ("name.length=1", "single value"),
        ("optim.lr=-1", "greater than 0"),
        ("optim.lr=fast", "'optim.lr' = 'fast'"),
        ("optim={}x", "'optim' = '{}x'"),
    ],
)
def test_what_no_field_takes_is_refused(assignment: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("{", r"\{")):
        Recipe().override([assignment])


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown configuration 'optim\.momentum'"):
        Recipe.parse({"optim": {"momentum": 1}})


def test_the_digest_leaves_out_what_decides_nothing() -> None:
    assert Recipe(workers=9).digest() == Recipe().digest()
    assert Recipe(name="other").digest() != Recipe().digest()
    assert Recipe().what_matters() == {
        "name": "small",
        "optim": {"lr": 1e-3, "betas": [0.9, 0.999]},
    }


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans()))
def test_digests_do_not_depend_on_order(values: dict[str, object]) -> None:
    assert digest_of(values) == digest_of(dict(reversed(values.items())))


def test_differences_are_listed_by_path() -> None:
    old, new = Recipe().what_matters(), Recipe(optim=Optim(lr=2e-3)).what_matters()
    assert changes(old, new) == [Change("optim.lr", 0.001, 0.002)]
    assert differences(old, new) == ["optim.lr: 0.001 -> 0.002"]
    assert differences(old, old) == []

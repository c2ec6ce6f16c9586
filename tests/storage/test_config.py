"""Configuration: frozen, refused when misspelled, overridden by dotted paths, digested."""

import json
from typing import ClassVar, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import PositiveFloat, ValidationError

from storage.config import Change, Config, changes, differences, digest_of
from storage.errors import ConfigError
from storage.unions import union_of


class Optim(Config):
    lr: PositiveFloat = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)


class Recipe(Config):
    RUNTIME: ClassVar[frozenset[str]] = frozenset({"workers"})

    name: str = "small"
    optim: Optim = Optim()
    workers: int = 2


class Line(Config):
    """What shapes have in common."""

    kind: str
    colour: str = "black"


class Circle(Line):
    kind: Literal["circle"] = "circle"
    radius: PositiveFloat = 1.0


class Square(Line):
    kind: Literal["square"] = "square"
    side: PositiveFloat = 2.0
    fill: str = "none"


class Drawing(Config):
    NEUTRAL: ClassVar[frozenset[str]] = frozenset({"frame"})

    shape: union_of([Circle, Square]) = Circle()  # type: ignore[valid-type]  # made at run time
    only: union_of([Circle]) = Circle()  # type: ignore[valid-type]
    optim: Optim = Optim()
    frame: int = 0


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


def test_another_kind_takes_its_own_defaults_and_keeps_what_kinds_share() -> None:
    drawing = Drawing.parse({"shape": {"kind": "circle", "radius": 5, "colour": "red"}})
    assignments = ["shape.kind=square", "shape.side=3"]
    for order in (assignments, assignments[::-1]):
        assert drawing.override(order).shape == Square(colour="red", side=3)
    assert drawing.override(["shape.kind=circle"]) == drawing
    again = drawing.override(["shape.kind=square"]).override(["shape.kind=circle"])
    assert again.shape == Circle(colour="red")


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        (["shape.kind=star"], "setting 'shape.kind' = 'star': there are circle, square"),
        (["only.kind=square"], "setting 'only.kind' = 'square'"),
        (
            ["shape.kind=square", "shape.radius=2"],
            "shape has no 'radius'; did you mean 'only.radius'",
        ),
        (["optim.kind=adam"], "unknown setting 'optim.kind'"),
        (["name.kind=adam"], "unknown setting 'name.kind'"),
        (["optim.side=1", "shape.kind=square"], "did you mean 'shape.side'"),
        (["shape.kind=square", "shape.side=-1"], "setting 'shape.side' = -1"),
    ],
)
def test_kinds_that_do_not_fit_are_refused(assignments: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Drawing().override(assignments)


def test_a_refusals_path_holds_no_kinds() -> None:
    with pytest.raises(ConfigError, match=r"unknown configuration 'shape\.radius'"):
        Drawing.parse({"shape": {"kind": "square", "radius": 1}})
    with pytest.raises(ConfigError, match=r"configuration 'shape\.kind' is missing"):
        Drawing.parse({"shape": {"radius": 1}})
    with pytest.raises(ConfigError, match=r"configuration 'optim\.betas\.1' = 'x'"):
        Drawing.parse({"optim": {"betas": [0.5, "x"]}})


def test_a_later_setting_is_in_no_digest_while_it_is_its_default() -> None:
    assert "frame" not in Drawing().what_matters()
    assert Drawing(frame=1).what_matters()["frame"] == 1
    assert Drawing(frame=1).digest() != Drawing().digest()

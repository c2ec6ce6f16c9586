"""Recipes: those that studies name, and files of settings that anyone writes, in TOML or JSON.

A file changes a named recipe, exactly as `--set` would::

    recipe = "demo"
    name = "slow"               # what the study is called in its home; without it, as the file is

    [pretraining.optim]
    lr = 1e-4

or gives a study's settings in full, as `stemworks recipe show` writes them: then it begins with
`study = "mixit"`, and what it leaves out has its default. TOML has no null: a setting that may be
none is `"none"`. Relative paths in a file are relative to where the command runs, as in `--set`.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple, get_args

from flows.config import NAME, StudyConfig
from flows.studies.study import Study
from flows.studies.table import RECIPES, STUDIES, named, study_of_recipe
from storage.config import Config, Json, configs_in
from storage.errors import ConfigError, hint

SUFFIXES = (".toml", ".json")
RECIPE, STUDY = "recipe", "study"
"""Of a file: the recipe that it changes, or the study whose settings it gives in full."""
NONE = "none"
"""What stands in TOML for a setting that is none."""


class Recipe(NamedTuple):
    """A configuration as it was asked for, before anything is set in it."""

    study: Study[Any]
    config: StudyConfig
    named: str
    """The recipe itself, the one that a file changes, or the first of a whole file's study."""
    file: Path | None = None


def find_recipe(text: str) -> Recipe:
    """Return the recipe of a name, or of a file's path: a text that ends in `.toml` or `.json`.

    Raises:
        ConfigError: there is no such recipe or file, or a file cannot be read as settings; says
            where in it.
    """
    if not text.lower().endswith(SUFFIXES):
        return Recipe(study_of_recipe(text), named(text), text)
    path = Path(text).expanduser()
    values = _read(path)
    try:
        return _changed(path, values) if RECIPE in values else _whole(path, values)
    except ConfigError as error:
        raise ConfigError(f"recipe file {path}: {error}") from error


def _changed(path: Path, values: Json) -> Recipe:
    base, changes = values[RECIPE], {key: it for key, it in values.items() if key != RECIPE}
    if STUDY in values:
        raise ConfigError(
            f"it names a recipe to change and, with {STUDY}, a study whose settings it gives in "
            "full; keep one of the two"
        )
    if base not in RECIPES:
        raise ConfigError(_unknown(RECIPE, base, RECIPES))
    config = named(base)
    changes = _named_like(path, _with_nones(path, changes, [type(config)]))
    given = _assignments(changes, [type(config)], config.model_dump(mode="json"))
    return Recipe(study_of_recipe(base), config.override(given), base, path)


def _whole(path: Path, values: Json) -> Recipe:
    studies = {study.name: study for study in STUDIES}
    if STUDY not in values:
        raise ConfigError(
            f'it says neither which recipe it changes, as in {RECIPE} = "demo", nor, as in {STUDY} '
            '= "mixit", whose settings it gives in full; add one of the two at its beginning'
        )
    if values[STUDY] not in studies:
        raise ConfigError(_unknown(STUDY, values[STUDY], studies))
    study = studies[values[STUDY]]
    given = {key: value for key, value in values.items() if key != STUDY}
    given = _named_like(path, _with_nones(path, given, [study.config]))
    return Recipe(study, study.config.parse(given, "setting"), next(iter(study.recipes)), path)


def _unknown(what: str, given: object, known: Iterable[str]) -> str:
    return f"unknown {what} '{given}'; {hint(str(given), known, 'there are')}"


def _named_like(path: Path, values: Json) -> Json:
    """Return a file's settings with a name: one that gives none is called as the file is."""
    if "name" in values:
        return values
    if not re.fullmatch(NAME, path.stem):
        raise ConfigError(
            f"it gives its study no name, and '{path.stem}', the file's own, is none; add a name "
            'of small letters, digits, dots, dashes and underscores, such as name = "mine"'
        )
    return {"name": path.stem, **values}


def _read(path: Path) -> Json:
    """Return a file's keys and values; raise `ConfigError` that names the line if it is broken."""
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no recipe file {path}; 'stemworks recipe show demo > {path}' writes one to "
            "be changed"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"recipe file {path} cannot be read ({error.strerror}); give a file"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"recipe file {path} is no text in UTF-8 (at byte {error.start}); save it as UTF-8"
        ) from error
    except tomllib.TOMLDecodeError as error:
        last = f"at line {len(text.splitlines())}, the last"
        where = str(error).replace("at end of document", last)
        raise ConfigError(f"recipe file {path} is no TOML: {where}; correct it there") from error
    except json.JSONDecodeError as error:
        where = f"{error.msg} (at line {error.lineno}, column {error.colno})"
        raise ConfigError(f"recipe file {path} is no JSON: {where}; correct it there") from error
    if not isinstance(values, dict):
        raise ConfigError(f"recipe file {path} holds {values!r}; give settings by their names")
    return values


def _with_nones(path: Path, values: Json, owners: Sequence[type[Config]]) -> Json:
    """Return TOML's values with null where it says "none" of a setting that may be none."""
    if path.suffix.lower() != ".toml":
        return values
    return {key: _with_none(path, key, value, owners) for key, value in values.items()}


def _with_none(path: Path, key: str, value: Any, owners: Sequence[type[Config]]) -> Any:
    types = _types_of(key, owners)
    if value == NONE and any(NoneType in get_args(one) for one in types):
        return None
    within = [found for one in types for found in configs_in(one)]
    if isinstance(value, dict) and within:
        return _with_nones(path, value, within)
    if isinstance(value, list) and within:
        return [_with_nones(path, one, within) if isinstance(one, dict) else one for one in value]
    return value


def _assignments(
    values: Json, owners: Sequence[type[Config]], held: Json, prefix: str = ""
) -> Iterator[str]:
    """Yield tables of settings as `--set` takes them; a mapping is one value."""
    for key, value in values.items():
        within = [found for one in _types_of(key, owners) for found in configs_in(one)]
        own = held.get(key)
        if isinstance(value, dict) and isinstance(own, dict) and within:
            yield from _assignments(value, within, own, f"{prefix}{key}.")
            continue
        try:
            yield f"{prefix}{key}={json.dumps(value)}"
        except TypeError as error:
            raise ConfigError(
                f"setting '{prefix}{key}' = {value}: no setting is a date or a time; put it in "
                "quotes if it is a text"
            ) from error


def _types_of(key: str, owners: Sequence[type[Config]]) -> list[Any]:
    return [one.model_fields[key].annotation for one in owners if key in one.model_fields]

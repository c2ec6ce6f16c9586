"""A configuration as a TOML file that people edit: every setting below what it means."""

import textwrap
from collections.abc import Iterator
from typing import Any

import tomlkit
from tomlkit.items import Array, InlineTable, Table

from flows.cli.settings.reference import Setting, described, kind_of, setting_of
from flows.config import StudyConfig
from flows.studies.recipe_file import NONE, STUDY
from flows.studies.study import Study
from storage.config import Config, configs_in

WIDTH = 96
"""Columns of a comment, and of a list that stays on one line."""
HEAD = (
    'Change what you like, and give this file to --recipe, as in "run study --recipe FILE".',
    'A setting that is left out has its default; one that may be none is "none" when it is.',
    "A home holds one configuration under a name: a changed one needs another name, or home.",
)


def toml_of(study: Study[Any], config: StudyConfig) -> str:
    """Return a whole configuration as the text of a recipe file, which reads as the same again."""
    document = tomlkit.document()
    for line in (f"All settings of study {study.name}.", *HEAD):
        document.add(tomlkit.comment(line))
    document.add(tomlkit.nl())
    document.add(STUDY, tomlkit.item(study.name))
    _fill(document, config)
    return tomlkit.dumps(document)


def _fill(
    table: Table | tomlkit.TOMLDocument, config: Config, choice: Setting | None = None
) -> None:
    """Put settings into a table: values first, since in TOML a table ends where another begins.

    Args:
        table: where to put them.
        config: the settings.
        choice: the setting that chose this kind of settings among several.
    """
    parts = dict(_parts(config))
    for name, value in config.model_dump(mode="json").items():
        if name not in parts:
            explained = choice if choice and name == "kind" else setting_of(type(config), name)
            table.add(tomlkit.nl())
            for line in _comments(explained):
                table.add(tomlkit.comment(line))
            table.add(name, _item(value))
    for name, part in parts.items():
        inner = tomlkit.table()
        for line in textwrap.wrap(described(type(config), name), WIDTH):
            inner.add(tomlkit.comment(line))
        _fill(inner, part, _choice(type(config), name))
        table.add(tomlkit.nl())
        table.add(name, inner)


def _parts(config: Config) -> Iterator[tuple[str, Config]]:
    for name in type(config).model_fields:
        held = getattr(config, name)
        if isinstance(held, Config):
            yield name, held


def _choice(owner: type[Config], name: str) -> Setting | None:
    within = configs_in(owner.model_fields[name].annotation)
    return kind_of(owner, name, within) if len(within) > 1 else None


def _comments(setting: Setting) -> Iterator[str]:
    yield from textwrap.wrap(setting.text, WIDTH, break_on_hyphens=False)
    yield from textwrap.wrap(f"[{setting.summary}]", WIDTH, break_on_hyphens=False)


def _item(value: Any) -> Any:
    """Return a JSON value as TOML has it."""
    if value is None:
        return NONE
    if isinstance(value, dict):
        return _inline(value)
    return _array(value) if isinstance(value, list) else value


def _inline(value: dict[str, Any]) -> InlineTable:
    table = tomlkit.inline_table()
    for key, one in value.items():
        table.add(key, _item(one))
    return table


def _array(values: list[Any]) -> Array:
    array = tomlkit.array()
    for one in values:
        array.append(_item(one))
    if len(array.as_string()) > WIDTH:
        array.multiline(True)
    return array

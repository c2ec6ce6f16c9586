"""What settings there are: each with its paths, type, unit, default and meaning, from the classes.

A group is the settings of one class, wherever studies have it: `pretraining.model` and
`finetuning.model` of one kind are one group. An entry is one setting with all its paths.
"""

import inspect
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from flows.cli.settings.type_words import NOTHING, words_of
from flows.studies.study import Study
from flows.studies.table import STUDIES
from storage.config import UNITS, Config, MeasuredIn, configs_in

ITEM = "[]"
"""In a path: any item of a list."""


@dataclass(frozen=True)
class Setting:
    """One field of a class of settings."""

    name: str
    type: str
    """Which values it takes, in words."""
    unit: str
    """Empty: it has none."""
    default: str
    """As JSON; empty where a value has to be given."""
    text: str
    """What it means."""

    @property
    def value(self) -> Any:
        """Its default; None where a value has to be given."""
        return json.loads(self.default) if self.default else None

    @property
    def summary(self) -> str:
        """Its type, unit and default in one line."""
        default = f"default {shown(self.value)}" if self.default else "required"
        return "; ".join(filter(None, (self.type, self.unit, default)))


@dataclass(frozen=True)
class Group:
    """The settings of one class, wherever studies have it."""

    places: tuple[str, ...]
    """Dotted paths; an empty one is the study itself, and `[]` any item of a list."""
    kind: str
    """Of several kinds of settings at these places; empty where there is one."""
    text: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class Entry:
    """One setting and all its paths."""

    paths: tuple[str, ...]
    kinds: tuple[str, ...]
    """Of the settings around it that have it; empty: whatever the kind."""
    setting: Setting


def shown(value: Any, longest: int = 60) -> str:
    """Return a value as people read it: JSON, `none` for null, and long lists cut short."""
    if value is None:
        return NOTHING
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= longest or not isinstance(value, list):
        return text
    items = [json.dumps(item, ensure_ascii=False) for item in value]
    few = next(n for n in range(len(items), -1, -1) if len(", ".join(items[:n])) < longest - 20)
    return f"[{', '.join([*items[:few], '...'])}], {len(items)} in all"


def groups_of(studies: Sequence[Study[Any]] = STUDIES) -> list[Group]:
    """Return every group of settings that these studies have, in the order of their fields."""
    found: dict[tuple[type[Config], str], list[str]] = defaultdict(list)
    for study in studies:
        for place, owner, kind in _places(study.config, "", ""):
            if place not in found[owner, kind]:
                found[owner, kind].append(place)
    return [
        Group(tuple(places), kind, inspect.getdoc(owner) or "", tuple(_settings(owner, kind)))
        for (owner, kind), places in found.items()
    ]


def entries_of(groups: Sequence[Group]) -> list[Entry]:
    """Return every setting of these groups once, with all its paths."""
    kinds_at: dict[str, set[str]] = defaultdict(set)
    kinds_of: dict[tuple[str, Setting], set[str]] = defaultdict(set)
    for group in groups:
        for place in group.places:
            kinds_at[place].add(group.kind)
            for setting in group.settings:
                kinds_of[place, setting].add(group.kind)
    merged: dict[tuple[Setting, tuple[str, ...]], list[str]] = defaultdict(list)
    for (place, setting), kinds in kinds_of.items():
        some = () if kinds == kinds_at[place] else tuple(sorted(kinds))
        merged[setting, some].append(f"{place}.{setting.name}".removeprefix("."))
    return [Entry(tuple(paths), kinds, setting) for (setting, kinds), paths in merged.items()]


def described(owner: type[Config], name: str) -> str:
    """Return what a field means: its own docstring, or that of the class that it comes from."""
    fields = (getattr(base, "model_fields", {}).get(name) for base in owner.__mro__)
    text = next((one.description for one in fields if one and one.description), "")
    return " ".join(text.split())


def unit_of(name: str, field: FieldInfo) -> str:
    """Return the unit of a field, by `MeasuredIn` or by the last word of its name; or empty."""
    measured = [one.unit for one in field.metadata if isinstance(one, MeasuredIn)]
    return next(iter(measured), UNITS.get(name.rpartition("_")[2], ""))


def setting_of(owner: type[Config], name: str) -> Setting:
    """Return one field of a class as a setting."""
    field = owner.model_fields[name]
    default = "" if field.is_required() else _json(field.get_default(call_default_factory=True))
    return Setting(
        name, words_of(owner, name), unit_of(name, field), default, described(owner, name)
    )


def kind_of(owner: type[Config], name: str, kinds: Sequence[type[Config]]) -> Setting:
    """Return the setting that chooses among several kinds of settings."""
    field = owner.model_fields[name]
    names = {str(kind.model_fields["kind"].default): kind for kind in kinds}
    firsts = [
        f"`{kind}`: {(inspect.getdoc(one) or '').partition(chr(10))[0]}"
        for kind, one in names.items()
    ]
    default = "" if field.is_required() else _json(field.get_default().kind)
    text = " ".join([described(owner, name), *firsts])
    return Setting(f"{name}.kind", f"one of {', '.join(names)}", "", default, text)


def _places(owner: type[Config], place: str, kind: str) -> Iterator[tuple[str, type[Config], str]]:
    """Yield where a class and the classes within it stand, and of which kind they are there."""
    yield place, owner, kind
    for name, field in owner.model_fields.items():
        within = configs_in(field.annotation)
        item = ITEM if get_origin(field.annotation) in (tuple, list) else ""
        for one in within:
            several = str(one.model_fields["kind"].default) if len(within) > 1 else ""
            yield from _places(one, f"{place}.{name}{item}".removeprefix("."), several)


def _settings(owner: type[Config], kind: str) -> Iterator[Setting]:
    """Yield the settings of a class that are values; settings within it are groups of their own."""
    for name, field in owner.model_fields.items():
        within = configs_in(field.annotation)
        if len(within) > 1:
            yield kind_of(owner, name, within)
        elif within == [field.annotation] or (kind and name == "kind"):
            continue
        else:
            yield setting_of(owner, name)


def _json(value: Any) -> str:
    return json.dumps(to_jsonable_python(value), ensure_ascii=False)

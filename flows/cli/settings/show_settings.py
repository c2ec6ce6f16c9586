"""`settings`: every setting, or those with a word in them; and every environment variable."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from flows.cli.options import AsJson
from flows.cli.output import View, stdout_view
from flows.cli.settings.reference import Entry, entries_of, groups_of, shown
from flows.studies.recipe_file import Recipe, find_recipe
from flows.studies.study import Study
from flows.studies.table import STUDIES, checked, study_of
from storage.config import Config, Json
from storage.environment import VARIABLES, Variable
from storage.errors import ConfigError, nearest

app = typer.Typer()
INDENT = "    "
ABSENT = object()


@app.command()
def settings(
    word: Annotated[str, typer.Argument(help="Only those with this in their path or text.")] = "",
    recipe: Annotated[
        str, typer.Option(help="Also show what this recipe has: a name, or a .toml or .json file.")
    ] = "",
    flow: Annotated[str, typer.Option(help="Only those of this flow's study.")] = "",
    variables: Annotated[
        bool, typer.Option("--variables", help="Show environment variables instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show every setting: its path, type, unit, default and meaning. See also 'recipe show'."""
    view = stdout_view(as_json)
    if not variables:
        show_settings(word, recipe, flow, view)
        return
    if recipe or flow:
        raise ConfigError("--variables shows what no recipe holds; leave out --recipe and --flow")
    show_variables(word, view)


def show_settings(word: str, recipe: str, flow: str, view: View) -> None:
    """Show the settings that have a word in their path or text, and what a recipe sets them to.

    Raises:
        ConfigError: the recipe or the flow is unknown, they are of different studies, or no setting
            has the word.
    """
    found = find_recipe(recipe) if recipe else None
    if found and flow:
        checked(flow, found.config)
    studies = _studies(found, flow)
    entries = entries_of(groups_of(studies))
    chosen = _matching(entries, word)
    values = [_of_recipe(entry, found.config) if found else {} for entry in chosen]
    pairs = list(zip(chosen, values, strict=True))
    width = view.console.width
    lines = [line for entry, held in pairs for line in _lines(entry, held, width)]
    view.show([_plain(entry, held) for entry, held in pairs], listed(lines))


def show_variables(word: str, view: View) -> None:
    """Show the environment variables that have a word in their name or meaning.

    Raises:
        ConfigError: none has it.
    """
    low = word.lower()
    chosen = [one for one in VARIABLES if low in f"{one.name} {one.meaning}".lower()]
    if not chosen:
        raise ConfigError(f"no variable has '{word}' in its name or meaning; leave the word out")
    lines = [line for one in chosen for line in _of_variable(one, view.console.width)]
    view.show([_plain_variable(one) for one in chosen], listed(lines))


def listed(lines: Iterable[Text]) -> Table:
    """Return lines below each other."""
    table = Table.grid()
    for line in lines:
        table.add_row(line)
    return table


def _studies(found: Recipe | None, flow: str) -> Sequence[Study[Any]]:
    if found:
        return [found.study]
    return [study_of(flow)] if flow else STUDIES


def _matching(entries: Sequence[Entry], word: str) -> list[Entry]:
    """Return the entries that have a word in a path, then those that have it in their text."""
    low = word.lower()
    named = [one for one in entries if any(low in path.lower() for path in one.paths)]
    meant = [one for one in entries if low in one.setting.text.lower() and one not in named]
    if not (named or meant):
        known = sorted({part for one in entries for part in one.paths[0].split(".")})
        near = nearest(word, known)
        remedy = f"did you mean '{near}'?" if near else "leave the word out to see them all"
        raise ConfigError(f"no setting has '{word}' in its path or text; {remedy}")
    return named + meant


def _of_recipe(entry: Entry, config: Config) -> dict[str, Any]:
    """Return what a configuration has at the paths of a setting, where it has that kind of it."""
    values = {path: _held(config, path, entry.kinds) for path in entry.paths}
    return {path: value for path, value in values.items() if value is not ABSENT}


def _held(config: Any, path: str, kinds: Sequence[str]) -> Any:
    *parents, name = path.split(".")
    for parent in parents:
        config = getattr(config, parent, None)
    if not isinstance(config, Config) or name not in type(config).model_fields:
        return ABSENT
    if kinds and getattr(config, "kind", "") not in kinds:
        return ABSENT
    return config.model_dump(mode="json", include={name})[name]


def _plain(entry: Entry, held: Json) -> Json:
    setting = entry.setting
    default = {"default": setting.value} if setting.default else {}
    plain = {"paths": entry.paths, "kinds": entry.kinds, "type": setting.type, "unit": setting.unit}
    return {**plain, **default, "text": setting.text, **({"recipe": held} if held else {})}


def _lines(entry: Entry, held: Json, width: int) -> Iterator[Text]:
    """Yield a setting as people read it, within so many columns."""
    for path in entry.paths[:-1]:
        yield Text.assemble((path, "bold"), ",")
    of = f"  (kind {', '.join(entry.kinds)})" if entry.kinds else ""
    yield Text.assemble((entry.paths[-1], "bold"), of)
    yield from _wrapped(entry.setting.summary, width, "cyan")
    for path, value in held.items():
        if not entry.setting.default or value != entry.setting.value:
            yield from _wrapped(f"the recipe has {path} = {shown(value)}", width, "green")
    yield from _wrapped(entry.setting.text, width)
    yield Text()


def _of_variable(one: Variable[object], width: int) -> Iterator[Text]:
    yield Text(one.name, "bold")
    without = f"default {one.default}" if one.default else f"without it: {one.otherwise}"
    yield from _wrapped(f"{without}; read by {one.readers}", width, "cyan")
    yield from _wrapped(one.meaning, width)
    yield Text()


def _plain_variable(one: Variable[object]) -> Json:
    fields = ("name", "meaning", "default", "otherwise", "readers")
    return {name: getattr(one, name) for name in fields}


def _wrapped(text: str, width: int, style: str = "") -> Iterator[Text]:
    for line in textwrap.wrap(text, max(40, width) - len(INDENT), break_on_hyphens=False):
        yield Text(INDENT + line, style)

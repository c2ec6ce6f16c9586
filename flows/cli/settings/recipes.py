"""`recipe`: list the recipes, write one as a file to be changed, compare two."""

import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from flows.cli.options import AsJson, Settings
from flows.cli.output import View, list_of, stdout_view
from flows.cli.settings.reference import shown
from flows.studies.recipe_file import STUDY, find_recipe
from flows.studies.table import STUDIES, study_of
from storage.config import Config

group = typer.Typer(help="List, write and compare recipes.", no_args_is_help=True)
app = typer.Typer()
app.add_typer(group, name="recipe")

Named = Annotated[str, typer.Argument(help="A recipe's name, or a .toml or .json file.")]


@group.command(name="list")
def list_recipes(
    flow: Annotated[str, typer.Option(help="Only those that this flow can be run with.")] = "",
    as_json: AsJson = False,
) -> None:
    """List the recipes, and each study's flows."""
    show_recipes(flow, stdout_view(as_json))


def show_recipes(flow: str, view: View) -> None:
    """Show the recipes of every study, or of the one that has a flow.

    Raises:
        ConfigError: the flow is unknown.
    """
    studies = [study_of(flow)] if flow else STUDIES
    rows = [
        (name, study, (function.__doc__ or "").strip())
        for study in studies
        for name, function in study.recipes.items()
    ]
    value = [
        {"recipe": name, "study": study.name, "flows": list(study.parts), "text": text}
        for name, study, text in rows
    ]
    parts: list[Table | str] = []
    for study in studies:
        recipes = {name: text for name, other, text in rows if other is study}
        parts += [f"Recipes of study {study.name}:", list_of(recipes), ""]
        parts += [f"Flows of study {study.name}:", list_of(study.parts), ""]
    view.show(value, *parts)


@group.command()
def show(recipe: Named, settings: Settings = None, as_json: AsJson = False) -> None:
    """Write a recipe as TOML with every setting explained; run it with --recipe FILE."""
    found = find_recipe(recipe)
    config = found.config.override(settings or [])
    if as_json:
        stdout_view(as_json).show({STUDY: found.study.name, **config.model_dump(mode="json")})
        return
    # The library loads when it is needed: other commands start without it.
    from flows.cli.settings.toml_text import toml_of

    typer.echo(toml_of(found.study, config), nl=False)


@group.command()
def diff(first: Named, second: Named, as_json: AsJson = False) -> None:
    """Show the settings in which two recipes differ. Exits with 0, whether they differ or not."""
    show_differences(first, second, stdout_view(as_json))


def show_differences(first: str, second: str, view: View) -> None:
    """Show the settings in which two recipes differ; of one that only one has, the other is empty.

    Raises:
        ConfigError: one of them is unknown, or its file cannot be read as settings.
    """
    one, other = (dict(_leaves(find_recipe(text).config)) for text in (first, second))
    paths = [path for path in {**one, **other} if _text(one, path) != _text(other, path)]
    value = [
        {"setting": path}
        | ({"first": one[path]} if path in one else {})
        | ({"second": other[path]} if path in other else {})
        for path in paths
    ]
    if not paths:
        view.show(value, "They have the same settings.")
        return
    table = Table(title="Settings that differ", title_justify="left", title_style="bold")
    # A path that is cut short names nothing; long values are whole in the JSON.
    table.add_column("setting", no_wrap=True)
    for name in (first, second):
        table.add_column(Text(name), overflow="fold")
    for path in paths:
        table.add_row(Text(path), Text(_text(one, path, 40)), Text(_text(other, path, 40)))
    view.show(value, table)


def _text(leaves: dict[str, Any], path: str, longest: int = sys.maxsize) -> str:
    return shown(leaves[path], longest) if path in leaves else ""


def _leaves(config: Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting that is a value, by its dotted path, as a JSON value."""
    plain = config.model_dump(mode="json")
    for name in type(config).model_fields:
        held = getattr(config, name)
        if isinstance(held, Config):
            yield from _leaves(held, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", plain[name]

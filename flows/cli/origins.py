"""Commands that say where things come from, and take them away with that knowledge."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from flows.cli.options import AsJson, HomeAt
from storage.home.open import open_home

if TYPE_CHECKING:
    from flows.cli.views import View

origins = typer.Typer()


@origins.command()
def lineage(
    what: Annotated[str, typer.Argument(help="A path, a copy, a mark's key, a stage or a label.")],
    home: HomeAt = "home",
    as_json: AsJson = False,
) -> None:
    """Say what made something, out of what, by which recipe and code."""
    from flows.cli import lineage as lineages  # noqa: PLC0415

    lineages.show(open_home(home), what, _view(as_json))


@origins.command()
def export(
    run_directory: Annotated[Path, typer.Argument(help="A run directory of a training.")],
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    as_json: AsJson = False,
) -> None:
    """Copy a trained model out: weights, JSON, model card and lineage."""
    from flows.cli import export  # noqa: PLC0415

    export.export(run_directory, out, _view(as_json))


def _view(as_json: bool) -> "View":
    from flows.cli.views import View  # noqa: PLC0415

    return View(Console(), as_json)

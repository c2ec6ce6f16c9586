"""Settings that people can find: listed, explained, written to recipe files, compared."""

import typer

from flows.cli.settings import recipes, show_settings
from flows.cli.settings.pages import settings_markdown, variables_markdown

app = typer.Typer()
for one in (recipes, show_settings):
    app.add_typer(one.app)

__all__ = ["app", "settings_markdown", "variables_markdown"]

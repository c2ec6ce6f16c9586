"""How commands print: tables for people, JSON for machines."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


class View:
    """Where results are printed, and whether for people or for machines."""

    def __init__(self, console: Console, as_json: bool) -> None:
        self.console = console
        self.as_json = as_json

    def show(self, value: Any, *shown: Table | str) -> None:
        """Print a value as JSON, or the tables and lines that show it to people."""
        if self.as_json:
            self.console.file.write(json.dumps(value, indent=2) + "\n")
            return
        for part in shown:
            # Brackets in paths and names are no markup.
            self.console.print(part, soft_wrap=isinstance(part, str), highlight=False, markup=False)


def stdout_view(as_json: bool = False) -> View:
    """Return the view that prints to standard output."""
    return View(Console(), as_json)


def table_of(title: str, headers: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> Table:
    """Return a titled table, whose cells wrap rather than lose what they say."""
    table = Table(title=Text(title, "bold"), title_justify="left")
    for header in headers:
        table.add_column(Text(header), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return table


def list_of(told: Mapping[str, str]) -> Table:
    """Return names, each with its description beside it."""
    table = Table.grid(padding=(0, 2))
    for name, text in told.items():
        table.add_row(Text(name, "bold"), Text(text))
    return table

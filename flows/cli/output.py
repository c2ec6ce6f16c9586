"""How commands print: tables for people, JSON for machines."""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


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
            self.console.print(part, soft_wrap=isinstance(part, str), highlight=False)


def stdout_view(as_json: bool = False) -> View:
    """Return the view that prints to standard output."""
    return View(Console(), as_json)


def table_of(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a titled table."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for header in headers:
        table.add_column(header)
    for row in rows:
        table.add_row(*row)
    return table

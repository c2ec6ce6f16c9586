"""What the command line does with a flow: run it, force a stage of it, deploy it, separate songs."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from rich.console import Console
from rich.table import Table

from flows.config import StudyConfig
from flows.line import Outlook, Prospect
from flows.recipes import named
from flows.server import connect
from flows.stages import forget
from flows.study import PARTS, follow
from storage.errors import ConfigError, MachineError, RunError, StemworksError
from storage.layout import Home

console = Console()


@dataclass(frozen=True)
class Order:
    """Which flow, which recipe, what differs, and where."""

    flow: str
    recipe: str
    settings: list[str]
    home: str

    def __post_init__(self) -> None:
        if self.flow not in PARTS:
            raise ConfigError(f"unknown flow '{self.flow}'; the flows are {', '.join(PARTS)}")

    @property
    def config(self) -> StudyConfig:
        """The study's configuration.

        Raises:
            ConfigError: the recipe or a setting is unknown, or a value is refused.
        """
        return named(self.recipe).override(self.settings)


def look(order: Order, deep: bool = False) -> list[Outlook]:
    """Look every stage of a flow up, in order; nothing is done."""
    home = Home.open(order.home)
    prospect = Prospect(home, deep)
    follow(prospect, order.config, home, order.flow)
    return prospect.outlooks


def run(order: Order, force: list[str], as_json: bool) -> None:
    """Run a flow under Prefect and say what came of it."""
    config, home = order.config, Home.open(order.home)
    check_machine()
    outlooks = look(order)  # a missing archive or a wrong home is said before anything starts
    for label in force:
        _force(home, outlooks, label)
    address = connect()
    from flows.flow import claim, stemworks  # noqa: PLC0415  Prefect reads its settings on import

    claim(home, config)
    if not as_json:
        console.print(f"Prefect UI: {address}", soft_wrap=True)
    state = stemworks(config, str(home.root), order.flow, return_state=True)
    ...

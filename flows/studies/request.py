"""What is asked for in one line: a flow, a recipe, what differs from it, and where."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from flows.config import StudyConfig
from flows.recipes import named
from flows.studies.graph import Part, build_graph
from flows.studies.runner import DryRun, StageStatus
from storage.errors import ConfigError
from storage.home.open import open_home


@dataclass(frozen=True)
class RunRequest:
    """Which flow, which recipe, what differs, and where."""

    flow: str
    recipe: str
    settings: list[str]
    home: str

    def __post_init__(self) -> None:
        if self.flow not in get_args(Part):
            known = ", ".join(get_args(Part))
            raise ConfigError(f"unknown flow '{self.flow}'; the flows are {known}")

    @property
    def part(self) -> Part:
        """The flow, as one of those there are."""
        return cast("Part", self.flow)

    @property
    def overrides(self) -> list[str]:
        """What differs from the recipe, as a run finds it from wherever it is started.

        Raises:
            ConfigError: the recipe or a setting is unknown, or a value is refused.
        """
        data = named(self.recipe).override(self.settings).data
        root = Path(data.root).expanduser().resolve()
        others = [one for one in self.settings if one.partition("=")[0].strip() != "data.root"]
        return [*others, f"data.root={root}"]

    @property
    def config(self) -> StudyConfig:
        """The study's configuration.

        Raises:
            ConfigError: the recipe or a setting is unknown, or a value is refused.
        """
        return named(self.recipe).override(self.overrides)

    def look(self) -> list[StageStatus]:
        """Look every stage up, in order; nothing is done."""
        home = open_home(self.home)
        prospect = DryRun(home)
        build_graph(prospect, self.config, home, self.part)
        return prospect.outlooks

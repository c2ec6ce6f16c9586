"""What is asked for in one command: a flow, a recipe, what differs from it, and where."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.config import StudyConfig
from flows.studies.runner import DryRun, StageStatus
from flows.studies.study import Study
from flows.studies.table import checked, named, study_of
from storage.home.open import open_home


@dataclass(frozen=True)
class RunRequest:
    """Which flow, which recipe, what differs, and where.

    Raises:
        ConfigError: there is no such flow.
    """

    flow: str
    recipe: str
    settings: list[str]
    home: str

    def __post_init__(self) -> None:
        study_of(self.flow)

    @property
    def study(self) -> Study[Any]:
        """The study that the flow is of."""
        return study_of(self.flow)

    @property
    def overrides(self) -> list[str]:
        """What differs from the recipe, with `data.root` in full, for runs started elsewhere.

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
            ConfigError: the recipe or a setting is unknown, a value is refused, or the recipe is of
                another study than the flow.
        """
        return checked(self.flow, named(self.recipe)).override(self.overrides)

    def look(self) -> list[StageStatus]:
        """Look every stage up, in order; nothing is done."""
        home = open_home(self.home)
        dry_run = DryRun(home)
        self.study.build_graph(dry_run, self.config, home, self.flow)
        return dry_run.statuses

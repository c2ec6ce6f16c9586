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
        """What differs from the recipe, with its paths in full, for runs started elsewhere.

        Raises:
            ConfigError: the recipe or a setting is unknown, or a value is refused.
        """
        config = named(self.recipe).override(self.settings)
        paths = {path: config.held(path) for path in config.PATHS}
        whole = [f"{path}={_in_full(text)}" for path, text in paths.items() if text]
        others = [one for one in self.settings if one.partition("=")[0].strip() not in paths]
        return [*others, *whole]

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


def _in_full(path: str) -> Path:
    return Path(path).expanduser().resolve()

"""What is asked for in one command: a flow, a recipe, what differs from it, and where."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from flows.config import StudyConfig
from flows.studies.recipe_file import Recipe, find_recipe
from flows.studies.runner import DryRun, StageStatus
from flows.studies.study import Study
from flows.studies.table import checked, study_of
from storage.config import Json
from storage.home.open import open_home


@dataclass(frozen=True)
class RunRequest:
    """Which flow, which recipe, what differs, and where.

    Raises:
        ConfigError: there is no such flow.
    """

    flow: str
    recipe: str
    """A recipe's name, or the path of a file of settings."""
    settings: list[str]
    home: str

    def __post_init__(self) -> None:
        study_of(self.flow)

    @property
    def study(self) -> Study[Any]:
        """The study that the flow is of."""
        return study_of(self.flow)

    @cached_property
    def found(self) -> Recipe:
        """The recipe as it is when first asked for: a file may change while a run is prepared.

        Raises:
            ConfigError: the recipe is unknown, or its file cannot be read as settings.
        """
        return find_recipe(self.recipe)

    @property
    def recipe_name(self) -> str:
        """What people call the recipe: its name, or that of its file without the folder."""
        return self.found.file.name if self.found.file else self.recipe

    @property
    def overrides(self) -> list[str]:
        """What differs from the recipe, with its paths in full, for runs started elsewhere.

        Raises:
            ConfigError: the recipe or a setting is unknown, or a value is refused.
        """
        config = self.found.config.override(self.settings)
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
        return checked(self.flow, self.found.config).override(self.overrides)

    def parameters(self, home: str, overrides: list[str]) -> Json:
        """Return the parameters of a run in Prefect.

        A file's settings travel whole: the run may be elsewhere, or later than the file changes.
        """
        found = self.found
        whole = {"config": found.config.model_dump(mode="json")} if found.file else {}
        named = {"recipe": found.named, "overrides": overrides}
        return {**named, "home": home, "part": self.flow, **whole}

    def look(self) -> list[StageStatus]:
        """Look every stage up, in order; nothing is done."""
        home = open_home(self.home)
        dry_run = DryRun(home)
        self.study.build_graph(dry_run, self.config, home, self.flow)
        return dry_run.statuses


def _in_full(path: str) -> Path:
    return Path(path).expanduser().resolve()

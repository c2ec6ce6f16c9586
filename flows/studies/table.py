"""The table of studies: a study is a subclass of `Study`, and one line here."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from flows.config import StudyConfig
from flows.studies.adapt import AdaptStudy
from flows.studies.mixit import MixitStudy
from flows.studies.study import Study
from storage.config import Json
from storage.errors import ConfigError, hint

STUDIES: tuple[Study[Any], ...] = (
    # The first is the study of homes that name none: those made before there were several.
    MixitStudy(),
    AdaptStudy(),
)

FLOWS: dict[str, Study[Any]] = {part: study for study in STUDIES for part in study.parts}
"""Every flow that can be run, and its study."""
RECIPES: dict[str, Callable[[], StudyConfig]] = {
    name: recipe for study in STUDIES for name, recipe in study.recipes.items()
}
assert len(FLOWS) == sum(len(study.parts) for study in STUDIES), "two studies share a flow's name"
assert len(RECIPES) == sum(len(study.recipes) for study in STUDIES), "two studies share a recipe"

FlowName = Annotated[str, Field(json_schema_extra={"enum": list(FLOWS)})]
RecipeName = Annotated[str, Field(json_schema_extra={"enum": list(RECIPES)})]
"""Names that a form shows as a list to choose from."""


def named(name: str) -> StudyConfig:
    """Return a recipe's configuration; raise `ConfigError` that lists the recipes if unknown."""
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe '{name}'; {hint(name, RECIPES, 'the recipes are')}")
    return RECIPES[name]()


def study_of(flow: str) -> Study[Any]:
    """Return the study that has a flow; raise `ConfigError` that lists the flows if none has."""
    if flow not in FLOWS:
        raise ConfigError(f"unknown flow '{flow}'; {hint(flow, FLOWS, 'the flows are')}")
    return FLOWS[flow]


def checked(flow: str, config: StudyConfig) -> StudyConfig:
    """Return a configuration; raise `ConfigError` if it is of another study than the flow."""
    study = study_of(flow)
    of_study: type[StudyConfig] = study.config
    if not isinstance(config, of_study):
        recipes = ", ".join(study.recipes)
        raise ConfigError(
            f"flow '{flow}' is of study {study.name}, but configuration '{config.name}' is of "
            f"another study; use one of the recipes {recipes}"
        )
    return config


def parsed(flow: str, values: Json) -> StudyConfig:
    """Return plain values as a configuration of a flow's study; raise `ConfigError` if refused."""
    config: StudyConfig = study_of(flow).config.parse(values)
    return config


def study_of_recipe(name: str) -> Study[Any]:
    """Return the study that has a recipe; raise `ConfigError` that lists the recipes if none."""
    named(name)
    return next(study for study in STUDIES if name in study.recipes)

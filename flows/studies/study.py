"""What a study is: its words, its settings, its recipes, its graph, and what it comes to."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

from flows.config import StudyConfig
from flows.stage_id import StageId
from flows.stages.lineage import LineageGraph
from flows.studies.runner import Product, Runner
from storage.config import Json
from storage.home.layout import Home
from storage.home.marks import Mark
from training.report.score_tables import ScoreTable

ConfigOfStudy = TypeVar("ConfigOfStudy", bound=StudyConfig)


class Page(NamedTuple):
    """One more artifact that a finished run shows, beside those that every run has."""

    kind: Literal["markdown", "table"]
    key: str
    """Small letters, digits and dashes."""
    description: str
    data: Any
    """Markdown text, or a table's rows."""


@dataclass(frozen=True)
class Results:
    """What a run comes to, as far as it is done."""

    scores: ScoreTable = field(default_factory=partial(ScoreTable, lines=()))
    headline: str = ""
    """The result in one sentence."""
    report: str = ""
    """Where the report is: a path, or an address."""
    pages: Sequence[Page] = ()


class Study(ABC, Generic[ConfigOfStudy]):
    """One paper as a flow. A subclass and one line in `table.py` are all that a study takes."""

    name: ClassVar[str]
    parts: ClassVar[Mapping[str, str]]
    """Flows that can be run, each with its description: the whole study first, then its parts and
    tables. No two studies share one."""
    config: type[ConfigOfStudy]
    recipes: Mapping[str, Callable[[], ConfigOfStudy]]
    """No two studies share a name."""

    @property
    def whole(self) -> str:
        """The flow that is the whole study."""
        return next(iter(self.parts))

    @abstractmethod
    def build_graph(
        self, runner: Runner[Product], config: ConfigOfStudy, home: Home, part: str
    ) -> None:
        """Give the stages of one of its flows to a runner, in order; nothing else.

        Raises:
            ConfigError: a setting is refused.
        """

    def corpora(self, config: ConfigOfStudy, part: str) -> int:
        """Return how many corpora a flow packs: they share the packing tasks of its run."""
        return 1

    def results(
        self, home: Home, config: ConfigOfStudy, part: str, made: Mapping[StageId, Mark]
    ) -> Results:
        """Return what a flow comes to, by the stages that are done. Called while it runs, too."""
        return Results()

    def configs(self, config: ConfigOfStudy, parts: Sequence[str]) -> Iterator[ConfigOfStudy]:
        """Yield every configuration that these flows train: the study's own, and its variants'."""
        yield config

    def of_first_release(self, values: Json) -> Json:
        """Return a configuration that the first release stored, so that it means the same now."""
        return values

    def settings_of(self, config: ConfigOfStudy, mark: Mark, lineage: LineageGraph) -> Json:
        """Return the settings that made a trained model, if it is of this configuration.

        They are named as in the configuration; the model's card is written from them. Empty: the
        model is of another configuration.
        """
        return {}


def report_link(home: Home, page: str) -> str:
    """Return where a report is, as Markdown: a link to a file, or an address in a bucket."""
    return f"Report: `{page}`" if home.remote else f"Report: [{page}](file://{page})"

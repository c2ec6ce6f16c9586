"""The study's entry in the table of studies."""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from flows.stage_id import StageId
from flows.stages.lineage import LineageGraph
from flows.studies.mixit import graph, origin, report, tables
from flows.studies.mixit.config import MixitStudyConfig
from flows.studies.mixit.recipes import RECIPES
from flows.studies.mixit.variants import TABLES, variants_of
from flows.studies.runner import Product, Runner
from flows.studies.study import Results, Study
from storage.config import Json
from storage.home.layout import Home
from storage.home.marks import Mark
from training.settings.former import chunks_of_first_release


class MixitStudy(Study[MixitStudyConfig]):
    """The paper as flows: the whole study, three parts of it, its tables."""

    name = "mixit"
    parts: ClassVar[Mapping[str, str]] = {
        graph.WHOLE: "from archives to scores and a report",
        graph.FMA: "the FMA archive packed into shards",
        graph.MUSDB: "MUSDB18's songs and where each stem sounds",
        graph.PRETRAIN: "MixIT pre-training, with the packing that it needs",
        "table1": "sizes of the separator, from MixIT and from scratch",
        "table2": "the same with the separator frozen",
        "table3": "scales of the archive",
        "mixit_gain": "what pre-training is worth, over seeds",
    }
    config = MixitStudyConfig
    recipes = RECIPES

    def build_graph(
        self, runner: Runner[Product], config: MixitStudyConfig, home: Home, part: str
    ) -> None:
        """Give the stages of one of the flows to a runner, in order."""
        graph.build_graph(runner, config, home, part)

    def corpora(self, config: MixitStudyConfig, part: str) -> int:
        """Return how many corpora a flow packs: `table3` has one for each scale."""
        return max(1, len(config.tables.scales)) if part == "table3" else 1

    def results(
        self, home: Home, config: MixitStudyConfig, part: str, made: Mapping[StageId, Mark]
    ) -> Results:
        """Return the scores of the separators judged so far; of a table, all once it is done."""
        if part in TABLES:
            return tables.results(home, config, part, made)
        return report.results(home, made)

    def configs(self, config: MixitStudyConfig, parts: Sequence[str]) -> Iterator[MixitStudyConfig]:
        """Yield the study's own configuration, and every variant of the tables that were run."""
        yield config
        for table in TABLES:
            if table in parts:
                yield from (variant.config for variant in variants_of(table, config))

    def of_first_release(self, values: Json) -> Json:
        """Return a stored configuration whose chunks, if they were the default, are so still."""
        evaluation = values["evaluation"]
        separate = chunks_of_first_release(evaluation["separate"])
        return {**values, "evaluation": {**evaluation, "separate": separate}}

    def settings_of(self, config: MixitStudyConfig, mark: Mark, lineage: LineageGraph) -> Json:
        """Return the settings that made a trained model, if it is of this configuration."""
        return origin.settings_of(config, mark, lineage)

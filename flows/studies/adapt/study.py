"""The study's entry in the table of studies."""

from collections.abc import Mapping
from typing import ClassVar

from flows.stage_id import StageId
from flows.stages.given_model import CHECK_MODEL
from flows.stages.lineage import LineageGraph
from flows.stages.training import TRAIN
from flows.studies.adapt import graph
from flows.studies.adapt.config import AdaptStudyConfig
from flows.studies.adapt.recipes import RECIPES
from flows.studies.runner import Product, Runner
from flows.studies.study import Results, Study
from storage.config import Json
from storage.home.layout import Home
from storage.home.marks import Mark


class AdaptStudy(Study[AdaptStudyConfig]):
    """A given model's scores, before and after fine-tuning."""

    name = "adapt"
    parts: ClassVar[Mapping[str, str]] = {
        "adapt": "a given model scored, fine-tuned on songs with stems, and scored again",
    }
    config = AdaptStudyConfig
    recipes = RECIPES

    def build_graph(
        self, runner: Runner[Product], config: AdaptStudyConfig, home: Home, part: str
    ) -> None:
        """Give the stages of the study to a runner, in order."""
        graph.build_graph(runner, config, home)

    def results(
        self, home: Home, config: AdaptStudyConfig, part: str, made: Mapping[StageId, Mark]
    ) -> Results:
        """Return the scores of the evaluations done so far."""
        return graph.results(home, config, made)

    def settings_of(self, config: AdaptStudyConfig, mark: Mark, lineage: LineageGraph) -> Json:
        """Return the settings that made a fine-tuned model, if it is of this configuration."""
        given = [
            one
            for one in lineage.marks
            if one.stage == CHECK_MODEL.name and one.digest == mark.inputs.get("model")
        ]
        ours = config.finetuning.what_matters()
        if mark.stage != TRAIN.name or not given or {**mark.config, "model": ours["model"]} != ours:
            return {}
        made = {graph.FINETUNE_ID.label: mark, graph.CHECK_ID.label: given[-1]}
        return graph.settings_of(config, made)

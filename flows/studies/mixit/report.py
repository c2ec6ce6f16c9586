"""Builder of the study's report, and the scores of a run as far as it is."""

from collections.abc import Mapping
from pathlib import Path

from flows.stage_id import Role, StageId
from flows.stages.attribution import trained_on
from flows.stages.lineage import LineageGraph
from flows.stages.report import lineage_of, scores_of
from flows.stages.stage import Built, Inputs, Site, Stage
from flows.studies.mixit.config import MixitStudyConfig
from flows.studies.mixit.separators import FINETUNED, PRETRAIN_ID, SEPARATORS, Separator
from flows.studies.study import Page, Results
from storage.config import Json
from storage.home import marks
from storage.home.layout import Home
from storage.home.marks import Mark
from storage.home.runs import Run
from training.report import (
    Curve,
    Material,
    Row,
    gain_line,
    music_of,
    published_scores,
    score_table,
    write_report,
)

CURVES = (PRETRAIN_ID, *(one.training for one in SEPARATORS))
"""Trainings whose losses the report draws."""
REPORT_ID = StageId("report")


def _report(site: Site, config: MixitStudyConfig, inputs: Inputs) -> Built:
    home, page = site.home, site.home.report(config.name)
    marks.fetch(home, inputs.values(), lambda output: True)
    judged = {one: inputs[label] for one in SEPARATORS if (label := one.evaluation.label) in inputs}
    graph = LineageGraph(home)
    music = trained_on(graph, inputs[FINETUNED.training.label], config.what_matters())
    material = Material(
        title=config.name,
        study=_matters(config),
        rows=tuple(_row(home, one, mark) for one, mark in judged.items()),
        curves=_curves(home, inputs),
        census=inputs["census"].path(home, "census.json"),
        channels=inputs["channels"].path(home, "channels.json"),
        lineage=lineage_of(graph, inputs),
        music=tuple(music_of(music.rows)),
    )
    write_report(material, page)
    tuned = [score.usdr for score in scores_of(home, judged[FINETUNED])]
    facts = {"page": home.spell(page), "scored": sum(value is not None for value in tuned)}
    return Built({"report.html": page}, facts)


def results(home: Home, made: Mapping[StageId, Mark]) -> Results:
    """Return the scores of the separators judged so far, and where the report is once it is."""
    judged = {one: made[one.evaluation] for one in SEPARATORS if one.evaluation in made}
    scores = {one: scores_of(home, mark) for one, mark in judged.items()}
    done = made.get(REPORT_ID)
    tuned = scores.get(FINETUNED)
    # The study's own numbers beside the published ones, once the study is whole.
    beside = Page("table", "published-scores", published_scores.CAUTION, published_scores.records())
    return Results(
        scores=score_table([(one.title, rows) for one, rows in scores.items()], with_ends=True),
        headline=gain_line("Fine-tuned separator", tuned) if tuned else "",
        report=str(done.facts["page"]) if done else "",
        pages=[beside] if done else [],
    )


def _row(home: Home, separator: Separator, mark: Mark) -> Row:
    scores: Path = mark.path(home, "scores.jsonl")
    return Row(name=separator.title, scores=scores, excerpts=scores.parent / "excerpts")


def _curves(home: Home, inputs: Inputs) -> tuple[Curve, ...]:
    return tuple(
        Curve(name=label, metrics=home.fetch(Run(home.run("train", inputs[label].key)).metrics))
        for label in (training.label for training in CURVES)
        if label in inputs
    )


def _matters(config: MixitStudyConfig) -> Json:
    """Return what decides a study's own report: the tables vary it and change nothing of it."""
    return {name: value for name, value in config.what_matters().items() if name != "tables"}


REPORT = Stage("report", 4, _report, matters=_matters, role=Role.REPORT)

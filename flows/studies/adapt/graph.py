"""The study as one function, and the report that it ends with."""

from collections.abc import Mapping

from flows.stage_id import Role, StageId
from flows.stages import training
from flows.stages.attribution import trained_on
from flows.stages.given_model import CHECK_MODEL, find_given
from flows.stages.lineage import LineageGraph
from flows.stages.report import lineage_of, scores_of
from flows.stages.stage import Built, Inputs, Site, Stage
from flows.studies.adapt.config import (
    AdaptStudyConfig,
    finetuning_of,
    require_fit,
    selects,
)
from flows.studies.preparation import Stems, prepare_stems
from flows.studies.runner import Product, Runner
from flows.studies.study import Results
from storage.config import Json
from storage.home import marks
from storage.home.layout import Home
from storage.home.marks import Mark
from storage.home.runs import Run
from training.report import Curve, Material, Row, gain_line, music_of, score_table, write_report

CHECK_ID = StageId("check", "model")
SELECT_ID = StageId("select channels")
FINETUNE_ID = StageId("finetune")
REPORT_ID = StageId("report")
EVALUATE_TUNED, EVALUATE_GIVEN = StageId("evaluate", "finetune"), StageId("evaluate", "as given")
TITLES = {EVALUATE_TUNED: "fine-tuned", EVALUATE_GIVEN: "as given"}
"""Evaluations by what people call the model: the study's own, and what it is compared with."""


def build_graph(runner: Runner[Product], config: AdaptStudyConfig, home: Home) -> None:
    """Model, songs -> scores as given -> fine-tuning -> scores -> report.

    Raises:
        ConfigError: there is no model, or it does not fit the study.
    """
    given = find_given(home, "model", config.model)
    require_fit(config, given)
    tune = finetuning_of(config, given)
    stems = prepare_stems(runner, config, config.musdb, home)
    model = runner.do(CHECK_ID, CHECK_MODEL, given.config, given.places)
    start, made = {"model": model}, {CHECK_ID: model}
    if selects(config, given):
        # Outputs without names are not what the references are: there is nothing to score yet.
        start["channels"] = runner.do(
            SELECT_ID, training.SELECT, config.selection, {}, model=model, songs=stems.songs
        )
        made[SELECT_ID] = start["channels"]
    else:
        made[EVALUATE_GIVEN] = _evaluate(runner, config, EVALUATE_GIVEN, stems, model)
    made[FINETUNE_ID] = runner.do(
        FINETUNE_ID, training.TRAIN, tune, {}, **start, songs=stems.songs, activity=stems.activity
    )
    made[EVALUATE_TUNED] = _evaluate(runner, config, EVALUATE_TUNED, stems, made[FINETUNE_ID])
    inputs = {what.label: product for what, product in made.items()}
    runner.do(REPORT_ID, REPORT, config, {}, **inputs)


def _evaluate(
    runner: Runner[Product],
    config: AdaptStudyConfig,
    what: StageId,
    stems: Stems[Product],
    model: Product,
) -> Product:
    return runner.do(what, training.EVALUATE, config.evaluation, {}, model=model, songs=stems.songs)


def results(home: Home, config: AdaptStudyConfig, made: Mapping[StageId, Mark]) -> Results:
    """Return the scores of the evaluations done so far, and where the report is once it is."""
    scores = {what: scores_of(home, made[what]) for what in TITLES if what in made}
    done, tuned = made.get(REPORT_ID), scores.get(EVALUATE_TUNED)
    rows = [(TITLES[what], found) for what, found in scores.items()]
    return Results(
        scores=score_table(rows, with_ends=True, stems=config.stems),
        headline=gain_line("Fine-tuned model", tuned, config.stems) if tuned else "",
        report=str(done.facts["page"]) if done else "",
    )


def settings_of(config: AdaptStudyConfig, made: Inputs) -> Json:
    """Return the settings that made the fine-tuned model, and what it was made from.

    `made` are the marks of the fine-tuning and of the given model, by their labels.
    """
    matters = _matters(config)
    tuned, given = made[FINETUNE_ID.label], made[CHECK_ID.label]
    return {**matters, "finetuning": tuned.config, "given": given.facts}


def _report(site: Site, config: AdaptStudyConfig, inputs: Inputs) -> Built:
    home, page = site.home, site.home.report(config.name)
    # Weights are not shown: they stay where they are.
    shown = (
        mark for label, mark in inputs.items() if label not in (CHECK_ID.label, FINETUNE_ID.label)
    )
    marks.fetch(home, shown, lambda output: True)
    training_run = Run(home.run("train", inputs[FINETUNE_ID.label].key))
    judged = {what: inputs[what.label] for what in TITLES if what.label in inputs}
    channels = inputs.get(SELECT_ID.label)
    graph, tuned = LineageGraph(home), inputs[FINETUNE_ID.label]
    music = trained_on(graph, tuned, config.what_matters())
    material = Material(
        title=config.name,
        study=settings_of(config, inputs),
        rows=tuple(_row(home, TITLES[what], mark) for what, mark in judged.items()),
        curves=(Curve(name=FINETUNE_ID.label, metrics=home.fetch(training_run.metrics)),),
        channels=channels.path(home, "channels.json") if channels else None,
        without=("archive",) if channels else ("archive", "channels"),
        lineage=lineage_of(graph, inputs),
        music=tuple(music_of(music.rows)),
        stems=config.stems,
    )
    write_report(material, page)
    return Built({"report.html": page}, {"page": home.spell(page)})


def _row(home: Home, title: str, mark: Mark) -> Row:
    scores = mark.path(home, "scores.jsonl")
    return Row(name=title, scores=scores, excerpts=scores.parent / "excerpts")


def _matters(config: AdaptStudyConfig) -> Json:
    """Return what decides the report, where it is not in what the report is made of.

    The model is known by its content, not by its path.
    """
    return {name: value for name, value in config.what_matters().items() if name != "model"}


REPORT = Stage("adapt-report", 2, _report, matters=_matters, role=Role.REPORT)

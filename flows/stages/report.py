"""Builder of the report, and what of it Prefect shows: tables and a run card."""

from pathlib import Path
from typing import Any

from flows.config import StudyConfig
from flows.stages.lineage import LineageGraph
from flows.stages.stage import Built, Inputs, Site, Stage
from storage.config import Json
from storage.home import marks
from storage.home.layout import Home
from storage.home.marks import Mark
from storage.home.runs import Run
from storage.manifests import read_rows
from storage.records import SongScore
from training.report import (
    Curve,
    Lineage,
    Material,
    Row,
    gain_line,
    score_table,
    write_report,
)
from training.report.tables import ScoreTable

NAMES = {
    "finetune": "MixIT pre-training, then fine-tuning",
    "train from scratch": "from scratch",
}
"""What the report calls each separator; the first is the one the study is about."""
SEVERAL = ("train", "evaluate")
"""Stages that a study has several of."""


def _report(site: Site, config: StudyConfig, inputs: Inputs) -> Built:
    home, page = site.home, site.home.report(config.name)
    marks.fetch(home, inputs.values(), lambda output: True)
    rows = tuple(
        Row(name=name, scores=scores, excerpts=scores.parent / "excerpts")
        for name, scores in score_files(home, inputs).items()
    )
    material = Material(
        title=config.name,
        study=_matters(config),
        rows=rows,
        curves=_curves(home, inputs),
        census=inputs["census"].path(home, "census.json"),
        channels=inputs["channels"].path(home, "channels.json"),
        lineage=lineage_of(home, inputs),
    )
    write_report(material, page)
    tuned = [score.usdr for score in _scores(home, inputs["evaluate finetune"])]
    facts = {"page": home.spell(page), "scored": sum(value is not None for value in tuned)}
    return Built({"report.html": page}, facts)


def score_files(home: Home, inputs: Inputs) -> dict[str, Path]:
    """Return each judged separator's scores, by the name that the report gives it."""
    return {
        name: inputs[f"evaluate {label}"].path(home, "scores.jsonl")
        for label, name in NAMES.items()
        if f"evaluate {label}" in inputs
    }


def table_of(home: Home, inputs: Inputs) -> ScoreTable:
    """Return the table of scores of a study's judged separators."""
    files = score_files(home, inputs)
    rows = [(name, read_rows(path, SongScore)) for name, path in files.items()]
    return score_table(rows, with_ends=True)


def gain_of(home: Home, inputs: Inputs) -> str:
    """Say what the fine-tuned separator gains over the trivial estimate."""
    return gain_line("Fine-tuned separator", _scores(home, inputs["evaluate finetune"]))


def _scores(home: Home, mark: Mark) -> list[SongScore]:
    return read_rows(mark.path(home, "scores.jsonl"), SongScore)


def _curves(home: Home, inputs: Inputs) -> tuple[Curve, ...]:
    return tuple(
        Curve(name=label, metrics=home.fetch(Run(home.run("train", inputs[label].key)).metrics))
        for label in ("pretrain", "finetune", "train from scratch")
        if label in inputs
    )


def lineage_of(home: Home, inputs: Inputs) -> tuple[Lineage, ...]:
    """Return all that led to what a page shows, as the page shows it.

    Trainings and evaluations go by their labels, as a study has several of each.
    """
    names = {mark.key: label for label, mark in inputs.items() if mark.stage in SEVERAL}
    made = LineageGraph(home).causes_first(inputs.values())
    return tuple(_line(mark, names.get(mark.key, mark.stage)) for mark in made)


def _line(mark: Mark, name: str) -> Lineage:
    facts: dict[str, Any] = {
        fact: value for fact, value in mark.facts.items() if not isinstance(value, dict | list)
    }
    return Lineage(
        stage=name,
        key=mark.key,
        digest=mark.digest,
        seconds=mark.seconds,
        facts=facts,
        inputs=dict(mark.inputs),
    )


def _matters(config: StudyConfig) -> Json:
    """Return what decides a study's own report: the tables vary it and change nothing of it."""
    return {name: value for name, value in config.what_matters().items() if name != "tables"}


REPORT = Stage("report", 3, _report, matters=_matters)

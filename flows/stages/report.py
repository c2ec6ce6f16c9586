"""What every study's report shows: scores as they were written, and all that led to them."""

from typing import Any

from flows.stages.lineage import LineageGraph
from flows.stages.stage import Inputs
from flows.stages.training import EVALUATE, TRAIN
from storage.home.layout import Home
from storage.home.marks import Mark
from storage.manifests import read_rows
from storage.records import SongScore
from training.report import Lineage

SEVERAL = (TRAIN.name, EVALUATE.name)
"""Stages that a study has several of."""


def scores_of(home: Home, mark: Mark) -> list[SongScore]:
    """Return the scores that an evaluation left."""
    return read_rows(mark.path(home, "scores.jsonl"), SongScore)


def lineage_of(graph: LineageGraph, inputs: Inputs) -> tuple[Lineage, ...]:
    """Return all that led to what a page shows, as the page shows it.

    Trainings and evaluations are named as the page's inputs, since a study has several of each.
    """
    names = {mark.key: label for label, mark in inputs.items() if mark.stage in SEVERAL}
    made = graph.causes_first(inputs.values())
    return tuple(_shown(mark, names.get(mark.key, mark.stage)) for mark in made)


def _shown(mark: Mark, name: str) -> Lineage:
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

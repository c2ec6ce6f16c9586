"""Builders of the paper's tables: every variant's scores side by side, and beside the paper's."""

from collections.abc import Iterable
from functools import partial
from typing import Literal

from flows import recipes
from flows.config import StudyConfig
from flows.stages.report import lineage_of
from flows.stages.stage import Built, Inputs, Site, Stage
from flows.studies.variants import TABLES, Table, Variant, variants_of
from storage.config import Change, changes
from storage.home import marks
from storage.home.layout import Home
from storage.home.marks import Mark
from training.report import write_comparison
from training.report.comparison import Comparison, Entry, Findings, find

JOBS = {
    "from scratch": ("train from scratch", "evaluate train from scratch"),
    "MixIT": ("pretrain", "select channels", "finetune", "evaluate finetune"),
}
"""Labels of the jobs that each row of a table takes; the last one scores it."""


def _table(table: Table, site: Site, config: StudyConfig, inputs: Inputs) -> Built:
    home, folder = site.home, site.home.report(config.name).parent
    marks.fetch(home, inputs.values(), lambda output: output.label == "scores.jsonl")
    comparison = compare(home, config, table, inputs)
    found = write_comparison(comparison, folder)
    page, numbers = folder / f"{table}.html", folder / f"{table}.json"
    facts = {
        "page": home.spell(page),
        "rows": len(comparison.entries),
        "gains": {gain.name: gain.average for gain in found.gains},
    }
    return Built({page.name: page, numbers.name: numbers}, facts)


def compare(home: Home, config: StudyConfig, table: Table, inputs: Inputs) -> Comparison:
    """Return what a table shows, given the marks of all its stages by their labels."""
    jobs = {mark.key: mark.seconds for mark in inputs.values() if mark.stage != "census"}
    return Comparison(
        study=config.name,
        table=table,
        entries=tuple(
            entry
            for variant in variants_of(table, config)
            for entry in _entries(home, variant, inputs)
        ),
        job_seconds=sum(jobs.values()),
        differences=tuple(unlike_the_paper(config)),
        recipe=config.what_matters(),
        lineage=lineage_of(home, inputs),
    )


def findings(home: Home, config: StudyConfig, table: Table, inputs: Inputs) -> Findings:
    """Return what a table comes to, for whoever shows it elsewhere."""
    return find(compare(home, config, table, inputs))


def unlike_the_paper(config: StudyConfig) -> list[Change]:
    """List what of a study is not as in the recipe `paper`, its name apart."""
    ours, theirs = config.what_matters(), recipes.paper().what_matters()
    for matters in (ours, theirs):
        matters.pop("name")
        # Seeds and scales are what a table shows; they are no departure from it.
        matters.pop("tables")
    return changes(theirs, ours)


def _entries(home: Home, variant: Variant, inputs: Inputs) -> Iterable[Entry]:
    for start, labels in JOBS.items():
        own = [inputs[name] for label in labels if (name := f"{label} {variant.name}") in inputs]
        if len(own) == len(labels):
            yield _entry(home, variant, "MixIT" if start == "MixIT" else "from scratch", own)


def _entry(
    home: Home, variant: Variant, start: Literal["from scratch", "MixIT"], own: list[Mark]
) -> Entry:
    return Entry(
        variant=variant.name,
        start=start,
        seed=variant.config.finetuning.loop.seed,
        scores=own[-1].path(home, "scores.jsonl"),
        job_seconds=round(sum(mark.seconds for mark in own), 3),
    )


STAGES = {table: Stage(table, 2, partial(_table, table)) for table in TABLES}

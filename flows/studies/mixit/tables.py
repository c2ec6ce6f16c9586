"""Builders of the paper's tables: every variant's scores side by side, and beside the paper's."""

from collections.abc import Iterable, Mapping
from functools import partial

from flows.stage_id import Role, StageId
from flows.stages.data import CENSUS
from flows.stages.lineage import LineageGraph
from flows.stages.report import lineage_of
from flows.stages.stage import Built, Inputs, Site, Stage
from flows.studies.mixit import recipes
from flows.studies.mixit.config import MixitStudyConfig
from flows.studies.mixit.separators import FINETUNED, FROM_SCRATCH, Separator
from flows.studies.mixit.variants import TABLES, Table, Variant, variants_of
from flows.studies.study import Page, Results, report_link
from storage.config import Change, changes
from storage.home import marks
from storage.home.layout import Home
from storage.home.marks import Mark
from training.report import write_comparison
from training.report.comparison import Comparison, Entry, find

ROWS = (FROM_SCRATCH, FINETUNED)
"""Of each variant, in the tables' order."""


def _table(table: Table, site: Site, config: MixitStudyConfig, inputs: Inputs) -> Built:
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


def compare(home: Home, config: MixitStudyConfig, table: Table, inputs: Inputs) -> Comparison:
    """Return what a table shows, given the marks of all its stages by their labels."""
    jobs = {mark.key: mark.seconds for mark in inputs.values() if mark.stage != CENSUS.name}
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
        lineage=lineage_of(LineageGraph(home), inputs),
    )


def results(
    home: Home, config: MixitStudyConfig, table: Table, made: Mapping[StageId, Mark]
) -> Results:
    """Return a table's scores once it is done."""
    done = made.get(StageId(table))
    if done is None:
        return Results()
    inputs = {what.label: mark for what, mark in made.items()}
    found = find(compare(home, config, table, inputs))
    gains = [gain.sentence() for gain in found.gains]
    page = str(done.facts["page"])
    card = [f"## {table}", found.scores.markdown(), *gains, report_link(home, page)]
    return Results(
        scores=found.scores,
        headline=gains[-1] if gains else "",
        report=page,
        pages=[Page("markdown", "table-card", "The table on one page", "\n\n".join(card))],
    )


def unlike_the_paper(config: MixitStudyConfig) -> list[Change]:
    """List what of a study is not as in the recipe `paper`, its name apart."""
    ours, theirs = config.what_matters(), recipes.paper().what_matters()
    for matters in (ours, theirs):
        matters.pop("name")
        # Seeds and scales are what a table shows; they are no departure from it.
        matters.pop("tables")
    return changes(theirs, ours)


def _entries(home: Home, variant: Variant, inputs: Inputs) -> Iterable[Entry]:
    for separator in ROWS:
        labels = [job.label for job in separator.jobs(variant.name)]
        own = [inputs[label] for label in labels if label in inputs]
        if len(own) == len(labels):
            yield _entry(home, variant, separator, own)


def _entry(home: Home, variant: Variant, separator: Separator, own: list[Mark]) -> Entry:
    return Entry(
        variant=variant.name,
        start=separator.start,
        seed=variant.config.finetuning.loop.seed,
        scores=own[-1].path(home, "scores.jsonl"),
        job_seconds=round(sum(mark.seconds for mark in own), 3),
    )


STAGES = {table: Stage(table, 2, partial(_table, table), role=Role.REPORT) for table in TABLES}

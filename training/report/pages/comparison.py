"""The page of one of the paper's tables, and the same for machines."""

import json
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from storage.files import write_bytes
from training.report import published_scores
from training.report.comparison import Comparison, Entry, Findings, find, summary
from training.report.figures import charts
from training.report.formats import UNDEFINED, decibels, duration, signed, span
from training.report.gains import Gain
from training.report.pages import provenance, results
from training.report.score_tables import ScoreTable
from training.report.stems import label
from training.report.templating import Column, Section, render

PAPERS = ("Paper uSDR", "Paper cSDR")

TITLES = {
    "table1": "Table 1: sizes, from scratch and from MixIT",
    "table2": "Table 2: the separator frozen",
    "table3": "Table 3: scales of the archive",
    "mixit_gain": "What MixIT pre-training is worth",
}


def write_comparison(comparison: Comparison, folder: Path) -> Findings:
    """Write <table>.html and <table>.json into a folder; return what they show.

    Raises:
        ManifestError: a row's scores are missing or unreadable.
    """
    found = find(comparison)
    name = comparison.table
    text = json.dumps(summary(comparison, found), indent=2, allow_nan=False) + "\n"
    write_bytes(folder / f"{name}.json", text.encode())
    write_bytes(folder / f"{name}.html", page(comparison, found).encode())
    return found


def page(comparison: Comparison, found: Findings) -> str:
    """Return a table's page."""
    sections = [
        Section("rows", "The table", _rows(comparison, found.scores)),
        Section("gains", "From MixIT against from scratch", _gains(found)),
        Section("metrics", "Every metric", _metrics(found.scores)),
    ]
    if comparison.table == "table1":
        sections.append(Section("systems", "Other systems", _systems()))
    sections += [
        Section("differences", "What differs from the paper", _differences(comparison)),
        Section("stages", "Stages", provenance.stages(comparison.lineage)),
        Section("recipe", "Recipe", provenance.recipe(comparison.recipe)),
    ]
    whole = render(
        "page.html",
        kind=f"study {comparison.study}",
        title=TITLES[comparison.table],
        head=render("gains_head.html", gains=found.gains),
        sections=sections,
    )
    return str(whole)


def _stem_columns(stems: Sequence[str]) -> list[Column]:
    return [Column(label(stem), True) for stem in stems]


def _rows(comparison: Comparison, scores: ScoreTable) -> Markup:
    rows = [_row(comparison.table, entry, scores) for entry in comparison.entries]
    columns = [Column("Row"), Column("Seed", True), *_stem_columns(scores.stems)]
    columns += [Column(title, True) for title in ("Average", "95 %", "cSDR", *PAPERS, "Took")]
    # Where the paper has no row like ours, its columns would be empty.
    shown = [
        number
        for number, column in enumerate(columns)
        if column.title not in PAPERS or any(row[number] != UNDEFINED for row in rows)
    ]
    return render(
        "table_rows.html",
        columns=[columns[number] for number in shown],
        rows=[[row[number] for number in shown] for row in rows],
        definitions=results.DEFINITIONS,
        hours=comparison.job_seconds / 3600,
        caution=published_scores.CAUTION if len(shown) == len(columns) else "",
    )


def _row(table_name: str, entry: Entry, scores: ScoreTable) -> list[object]:
    line, chunked = scores.line(entry.name, "uSDR"), scores.line(entry.name, "cSDR")
    csdr, usdr = published_scores.beside(table_name, entry.variant, entry.start)
    stems = map(decibels, line.stems) if line else [UNDEFINED] * len(scores.stems)
    return [
        *(entry.name, entry.seed, *stems, decibels(line.average if line else None)),
        span(line.ends[-1] if line and line.ends else None),
        decibels(chunked.average if chunked else None),
        *(decibels(usdr), decibels(csdr), duration(entry.job_seconds)),
    ]


def _gains(found: Findings) -> Markup:
    columns = [Column("Variant"), Column("Songs", True), *_stem_columns(found.scores.stems)]
    columns += [Column(title, True) for title in ("Average", "95 % over songs", "SD over seeds")]
    known = [charts.Span(gain.name, gain.average, gain.ends, gain.paper) for gain in found.gains]
    return render(
        "table_gains.html",
        chart=charts.spans(known),
        columns=columns,
        rows=[_gain_row(gain) for gain in found.gains],
    )


def _gain_row(gain: Gain) -> list[object]:
    return [
        *(gain.name, gain.songs, *map(signed, gain.stems), signed(gain.average)),
        *(span(gain.ends), decibels(gain.spread)),
    ]


def _metrics(scores: ScoreTable) -> Markup:
    columns = [Column(title, number > 1) for number, title in enumerate(scores.headers)]
    return render("table_metrics.html", columns=columns, rows=scores.rows)


def _systems() -> Markup:
    rows: list[list[object]] = [
        [one.name, one.data, decibels(one.csdr), decibels(one.usdr)]
        for one in published_scores.SYSTEMS
    ]
    rows += [
        [f"{row.id}  {row.model}", _trained_on(row), *map(decibels, row.average)]
        for row in published_scores.TABLE_1
    ]
    return render(
        "table_systems.html",
        columns=[
            Column("System"),
            Column("Trained on"),
            Column("cSDR", True),
            Column("uSDR", True),
        ],
        rows=rows,
        citation=published_scores.CITATION,
    )


def _trained_on(row: published_scores.PublishedRow) -> str:
    return "MUSDB18-HQ and FMA-large, unlabelled" if row.pretrained else "MUSDB18-HQ"


def _differences(comparison: Comparison) -> Markup:
    return render(
        "table_differences.html",
        columns=[Column("Setting"), Column("The paper's recipe"), Column("Here")],
        rows=[(one.path, one.old_text, one.new_text) for one in comparison.differences],
        always=published_scores.ALWAYS_DIFFERENT,
    )

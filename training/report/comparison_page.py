"""The page of one of the paper's tables."""

from collections.abc import Sequence

from training.report import plots, provenance, published, results
from training.report.comparison import Comparison, Entry, Findings
from training.report.gains import Gain
from training.report.markup import Column, details, duration, paragraph, table
from training.report.page import Section, document
from training.report.tables import (
    STEM_COLUMNS,
    UNDEFINED,
    ScoreTable,
    decibels,
    signed,
    span,
)

PAPERS = ("Paper uSDR", "Paper cSDR")

TITLES = {
    "table1": "Table 1: sizes, from scratch and from MixIT",
    "table2": "Table 2: the separator frozen",
    "table3": "Table 3: scales of the archive",
    "mixit_gain": "What MixIT pre-training is worth",
}


def render(comparison: Comparison, found: Findings) -> str:
    """Return a table's page."""
    sections = [
        Section("rows", "The table", _rows(comparison, found.scores)),
        Section("gains", "From MixIT against from scratch", _gain_table(found.gains)),
        Section("metrics", "Every metric", _metrics(found.scores)),
    ]
    if comparison.table == "table1":
        sections.append(Section("systems", "Other systems", _systems()))
    sections += [
        Section("differences", "What differs from the paper", _differences(comparison)),
        Section("stages", "Stages", provenance.stages(comparison.lineage)),
        Section("recipe", "Recipe", provenance.recipe(comparison.recipe)),
    ]
    title = TITLES[comparison.table]
    cards = "".join(_card(gain) for gain in found.gains)
    return document(
        f"study {comparison.study}", title, f'<div class="verdicts">{cards}</div>\n', sections
    )


def _card(gain: Gain) -> str:
    return (
        f'<div class="verdict"><div class="gain">{signed(gain.average)}<small> dB</small></div>'
        f"<div>{paragraph(gain.sentence())}</div></div>"
    )


def _rows(comparison: Comparison, scores: ScoreTable) -> str:
    rows = [_row(comparison.table, entry, scores) for entry in comparison.entries]
    columns = [Column("Row"), Column("Seed", True)]
    columns += [Column(stem.capitalize(), True) for stem in STEM_COLUMNS]
    columns += [Column(title, True) for title in ("Average", "95 %", "cSDR", *PAPERS, "Took")]
    # Where the paper has no row like ours, its columns would be empty.
    shown = [
        number
        for number, column in enumerate(columns)
        if column.title not in PAPERS or any(row[number] != UNDEFINED for row in rows)
    ]
    hours = (
        f"A row's time is that of its jobs as if it shared none; all jobs of this table, each "
        f"counted once, took {comparison.job_seconds / 3600:.2f} hours (GPU-hours, where they ran "
        "on one GPU)."
    )
    return (
        table(
            [columns[number] for number in shown],
            [[row[number] for number in shown] for row in rows],
            "entries",
        )
        + paragraph(f"uSDR in dB where nothing else is said. {results.DEFINITIONS}", "note")
        + paragraph(f"95 %: of the average, when songs are drawn again. {hours}", "note")
        + (paragraph(published.CAUTION, "note caution") if len(shown) == len(columns) else "")
    )


def _row(table_name: str, entry: Entry, scores: ScoreTable) -> list[object]:
    line, chunked = scores.line(entry.name, "uSDR"), scores.line(entry.name, "cSDR")
    csdr, usdr = published.beside(table_name, entry.variant, entry.start)
    stems = map(decibels, line.stems) if line else [UNDEFINED] * len(STEM_COLUMNS)
    return [
        *(entry.name, entry.seed, *stems, decibels(line.average if line else None)),
        span(line.ends[-1] if line and line.ends else None),
        decibels(chunked.average if chunked else None),
        *(decibels(usdr), decibels(csdr), duration(entry.job_seconds)),
    ]


def _gain_table(gains: Sequence[Gain]) -> str:
    columns = [Column("Variant"), Column("Songs", True)]
    columns += [Column(stem.capitalize(), True) for stem in STEM_COLUMNS]
    columns += [Column(title, True) for title in ("Average", "95 % over songs", "SD over seeds")]
    rows = [
        [
            *(gain.name, gain.songs, *map(signed, gain.stems), signed(gain.average)),
            *(span(gain.ends), decibels(gain.spread)),
        ]
        for gain in gains
    ]
    note = (
        "uSDR from MixIT less uSDR from scratch in dB, song by song: a paired difference. A dot is "
        "the average over the stems, its line the 95 % interval over songs; the diamond "
        "or the band is what the paper gains."
    )
    known = [plots.Span(gain.name, gain.average, gain.ends, gain.paper) for gain in gains]
    picture = f'<div class="panels single"><figure>{plots.spans(known)}</figure></div>\n'
    return picture + table(columns, rows) + paragraph(note, "note")


def _metrics(scores: ScoreTable) -> str:
    columns = [Column(title, number > 1) for number, title in enumerate(scores.headers)]
    return details("Every row under every metric", table(columns, scores.rows))


def _systems() -> str:
    columns = [Column("System"), Column("Trained on"), Column("cSDR", True), Column("uSDR", True)]
    rows: list[list[object]] = [
        [one.name, one.data, decibels(one.csdr), decibels(one.usdr)] for one in published.SYSTEMS
    ]
    rows += [
        [f"{row.id}  {row.model}", _trained_on(row), *map(decibels, row.average)]
        for row in published.TABLE_1
    ]
    note = f"Averages over the stems as the paper reports them. {published.CITATION}"
    return table(columns, rows) + paragraph(note, "note")


def _trained_on(row: published.PublishedRow) -> str:
    return "MUSDB18-HQ and FMA-large, unlabelled" if row.pretrained else "MUSDB18-HQ"


def _differences(comparison: Comparison) -> str:
    columns = [Column("Setting"), Column("The paper's recipe"), Column("Here")]
    rows = []
    for line in comparison.differences:
        setting, _, values = line.partition(": ")
        rows.append([setting, *values.split(" -> ", 1)])
    standing = "".join(paragraph(one, "note") for one in published.STANDING)
    if not rows:
        return paragraph("No setting differs from the paper's recipe.") + standing
    return details(f"{len(rows)} settings that differ", table(columns, rows)) + standing

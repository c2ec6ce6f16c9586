"""One of the paper's tables as this home made it: its rows, what they come to, plain values.

Fast to import: neither arrays nor pictures. The page is `pages.comparison`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from storage.config import Change, Json
from storage.manifests import read_rows
from storage.records import Record, SongScore
from training.report import published_scores
from training.report.gains import Gain, Pairing, gain_of, paper_gain
from training.report.material import Lineage
from training.report.score_tables import ScoreTable, score_table


class Entry(Record):
    """One row of a table, as this home made it."""

    variant: str
    start: Literal["from scratch", "MixIT"]
    seed: int
    scores: Path
    """Its scores.jsonl."""
    job_seconds: float
    """Of its pre-training, selection, fine-tuning and evaluation, as if it shared none of them."""

    @property
    def name(self) -> str:
        """Its name in the table."""
        return f"{self.variant}, {self.start}"


class Comparison(Record):
    """Everything that one table shows."""

    study: str
    table: str
    entries: tuple[Entry, ...]
    job_seconds: float
    """Of all its jobs, each counted once."""
    differences: tuple[Change, ...]
    """Settings that are not the paper's: `old` is the paper's, `new` is ours."""
    recipe: Json
    lineage: tuple[Lineage, ...] = ()
    stems: tuple[str, ...] = ()
    """Of the study; empty: those of the scores (see `stems.stem_order`)."""


class Findings(NamedTuple):
    """The results of a comparison."""

    scores: ScoreTable
    gains: list[Gain]


def find(comparison: Comparison) -> Findings:
    """Read and sum up every row's scores.

    Raises:
        ManifestError: a row's scores are missing or unreadable.
    """
    scored = {one.name: read_rows(one.scores, SongScore) for one in comparison.entries}
    table = score_table(list(scored.items()), with_ends=True, stems=comparison.stems)
    return Findings(table, _gains(comparison, scored, table.stems))


def summary(comparison: Comparison, found: Findings) -> Json:
    """Return a table as plain values."""
    return {
        "study": comparison.study,
        "table": comparison.table,
        "rows": [_record(comparison.table, one, found.scores) for one in comparison.entries],
        "gains": [gain.model_dump(mode="json") for gain in found.gains],
        "job_hours": round(comparison.job_seconds / 3600, 4),
        "differences": [str(one) for one in comparison.differences],
    }


def _gains(
    comparison: Comparison, scored: Mapping[str, list[SongScore]], stems: tuple[str, ...]
) -> list[Gain]:
    """Return each variant's gain; of seeds, their joint gain last."""
    starts = {(one.variant, one.start): scored[one.name] for one in comparison.entries}
    scratch = {variant: scores for (variant, start), scores in starts.items() if start != "MixIT"}
    pairings = [
        # Training from scratch uses no archive: one such row is compared with every scale.
        Pairing(variant, scores, scratch.get(variant) or next(iter(scratch.values()), []))
        for (variant, start), scores in starts.items()
        if start == "MixIT"
    ]
    name = comparison.table
    gains = [gain_of(one.name, [one], paper_gain(name, one.name), stems) for one in pairings]
    if name == "mixit_gain":
        gains.append(gain_of("All seeds", pairings, paper_gain(name, ""), stems))
    return gains


def _record(table_name: str, entry: Entry, scores: ScoreTable) -> Json:
    csdr, usdr = published_scores.beside(table_name, entry.variant, entry.start)
    lines = {line.metric: line for line in scores.lines if line.model == entry.name}
    metrics: dict[str, Any] = {
        metric: {
            **dict(zip(scores.stems, line.stems, strict=True)),
            "average": line.average,
            "average_95": line.ends[-1] if line.ends else None,
        }
        for metric, line in lines.items()
    }
    return {
        "variant": entry.variant,
        "start": entry.start,
        "seed": entry.seed,
        "job_hours": round(entry.job_seconds / 3600, 4),
        "scores": metrics,
        "paper": {"cSDR": csdr, "uSDR": usdr},
    }

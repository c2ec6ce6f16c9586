"""What the study found: the verdict, the scores, every song, the losses."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from storage.audio.residual import NOTICEABLE_RESIDUAL
from training.report import published_scores
from training.report.figures import charts
from training.report.formats import count, decibels, signed
from training.report.gains import Pairing, gain_of
from training.report.material import Curve, Losses, Results, read_losses
from training.report.score_tables import (
    FEW_SONGS,
    TARGET_GAIN,
    Ends,
    ScoreTable,
    defined,
    gain_line,
    gain_over_trivial,
    score_table,
    trivial_name,
)
from training.report.stems import Stem
from training.report.templating import Column, missing, render

DEFINITIONS = (
    "cSDR: median over songs of each song’s median over one-second frames (museval v4). uSDR: "
    "mean over songs of the signal-to-noise ratio of the whole song, per channel and then "
    "averaged. In dB; higher is better."
)

AVERAGE = Column("Average", True)

OTHER_METRICS = {
    "uSDR (MDX21)": "uSDR, MDX21 form",
    "SI-SDR": "SI-SDR",
    "museval": "cSDR by museval itself",
}
"""Metrics below the table, and what they are called there."""


class Verdict(NamedTuple):
    """One model's gain over the trivial estimate."""

    gain: float
    met: bool | None
    """Whether the target is reached; None before there are scores."""
    sentence: str


class Cell(NamedTuple):
    """One number in dB and its interval, where there is one."""

    value: float | None
    ends: Ends | None = None


class Line(NamedTuple):
    """One model: cSDR and uSDR of each stem, then of their average."""

    label: str
    cells: list[Cell]


class Group(NamedTuple):
    """Lines under a heading."""

    title: str
    kind: str
    """Its class in the style sheet."""
    lines: list[Line]


class Panel(NamedTuple):
    """One training run."""

    name: str
    chart: Markup | None
    facts: str


def verdict(results: Results) -> Markup:
    """Return each model's gain over the trivial estimate, large, and in one sentence."""
    cards = []
    for each in results.models:
        gain = gain_over_trivial(each.scores, results.names)
        met = None if math.isnan(gain) else gain >= TARGET_GAIN
        cards.append(Verdict(gain, met, gain_line(each.row.name, each.scores, results.names)))
    return render("verdict.html", cards=cards, lead=_difference(results))


def scores(results: Results) -> Markup:
    """Return the score table above the published one, and the other metrics."""
    found = score_table(
        [(each.key, each.scores) for each in results.models], with_ends=True, stems=results.names
    )
    groups = [Group("This study", "ours", _own_lines(results, found))]
    comparable = set(results.names) == set(published_scores.STEMS)
    if comparable:
        title = "Published, MUSDB18-HQ test set, full scale"
        groups.append(Group(title, "published", _published_lines(results.names)))
    return render(
        "scores.html",
        stems=results.stems,
        groups=groups,
        definitions=DEFINITIONS,
        residuals=_residuals(results),
        caution=f"{published_scores.CAUTION} {published_scores.CITATION}" if comparable else "",
        other_columns=[Column("Model"), Column("Metric"), *_stem_columns(results), AVERAGE],
        others=_other_metrics(results, found),
    )


def songs(results: Results) -> Markup:
    """Return each stem's songs as dots, and the same as a table that folds away."""
    if not any(each.scores for each in results.models):
        return missing("No song has been scored yet.")
    lanes = {stem: _lanes(stem, results) for stem in results.stems}
    every = [lane for stem in lanes.values() for lane in stem]
    limits = charts.shared_limits(every)
    legend = [f"{each.key}: {each.row.name}" for each in results.models]
    if not all(lane.is_model for lane in every):
        legend.append(f"{_trivial_key(results)}: {trivial_name(results.names)}")
    return render(
        "songs.html",
        legend="; ".join(legend),
        joined=len(results.models) > 1,
        panels=[(stem, charts.strip(stem, of, limits)) for stem, of in lanes.items()],
        columns=[Column("Song"), Column("Model"), *_stem_columns(results)],
        rows=_song_rows(results),
    )


def losses(curves: Sequence[Curve]) -> Markup:
    """Return one panel per training run."""
    if not curves:
        return missing("No training run belongs to this study yet.")
    panels = []
    for curve in curves:
        read = read_losses(curve.metrics)
        chart = charts.curve(curve.name, read) if read.train or read.validation else None
        panels.append(Panel(curve.name, chart, _loss_facts(read)))
    return render("losses.html", panels=panels)


def _stem_columns(results: Results) -> list[Column]:
    return [Column(stem.label, True) for stem in results.stems]


def _difference(results: Results) -> str:
    """Say how the first model compares with the second, and on how many songs."""
    models = results.models[:2]
    number = len({score.song for each in results.models for score in each.scores})
    if not number:
        return ""
    found = score_table([(each.key, each.scores) for each in models], stems=results.names)
    lines = [found.line(each.key, "uSDR") for each in models]
    averages = [line.average for line in lines if line and line.average is not None]
    text = f"Scored on {count(number, 'song')}."
    if len(averages) == 2:
        first, second = models
        pairing = Pairing("", first.scores, second.scores)
        ends = gain_of("", [pairing], stems=results.names).ends
        interval = f" (95 %: {signed(ends[0])} to {signed(ends[1])} dB)" if ends else ""
        text = (
            f"{first.row.name} against {second.row.name}: "
            f"{signed(averages[0] - averages[1])} dB uSDR, on {count(number, 'song')}{interval}."
        )
    few = " So few songs are an illustration, not evidence." if number < FEW_SONGS else ""
    return text + few


def _own_lines(results: Results, found: ScoreTable) -> list[Line]:
    lines = [
        _study_line(found, each.key, f"{each.key}  {each.row.name}") for each in results.models
    ]
    trivial = trivial_name(results.names)
    if found.line(trivial, "uSDR"):
        line = _study_line(found, trivial, trivial)
        # Nobody asks for the confidence interval of the trivial estimate.
        lines.append(Line(line.label, [Cell(cell.value) for cell in line.cells]))
    empty = [Cell(None)] * (2 * len(results.stems) + 2)
    return lines or [Line("not scored yet", empty)]


def _study_line(found: ScoreTable, model: str, label: str) -> Line:
    none = [Cell(None)] * (len(found.stems) + 1)
    by_metric = []
    for metric in ("cSDR", "uSDR"):
        row = found.line(model, metric)
        values = [*row.stems, row.average] if row else []
        ends = (row.ends if row else ()) or (None,) * len(values)
        by_metric.append([Cell(*both) for both in zip(values, ends, strict=True)] or none)
    return Line(label, [cell for pair in zip(*by_metric, strict=True) for cell in pair])


def _published_lines(stems: Sequence[str]) -> list[Line]:
    return [
        Line(
            f"{row.id}  {row.model}",
            [Cell(value) for name in (*stems, "average") for value in getattr(row, name)],
        )
        for row in published_scores.TABLE_1
    ]


def _residuals(results: Results) -> list[tuple[str, float]]:
    """Return the songs whose mixtures are not their stems' sum, and by how much."""
    odd = {
        score.song: score.residual
        for each in results.models
        for score in each.scores
        if score.residual is not None and score.residual > NOTICEABLE_RESIDUAL
    }
    return sorted(odd.items())


def _other_metrics(results: Results, found: ScoreTable) -> list[list[str]]:
    names = {each.key: each.row.name for each in results.models}
    return [
        [
            *(names[line.model], OTHER_METRICS[line.metric]),
            *map(decibels, [*line.stems, line.average]),
        ]
        for line in found.lines
        if line.metric in OTHER_METRICS
    ]


def _trivial_key(results: Results) -> str:
    return f"1/{len(results.stems)}"


def _lanes(stem: Stem, results: Results) -> list[charts.Lane]:
    found = []
    trivial: dict[str, float] = {}
    for each in results.models:
        own = [score for score in each.scores if score.stem == stem.name]
        values = {score.song: defined(score.usdr) for score in own}
        found.append(charts.Lane(each.key, _known(values)))
        trivial |= _known({score.song: defined(score.usdr_trivial) for score in own})
    if not trivial:
        return found
    return [*found, charts.Lane(_trivial_key(results), trivial, is_model=False)]


def _known(values: dict[str, float | None]) -> dict[str, float]:
    return {song: value for song, value in values.items() if value is not None}


def _song_rows(results: Results) -> list[list[str]]:
    cells = {(each.key, s.song, s.stem): s.usdr for each in results.models for s in each.scores}
    return [
        [song, key, *(decibels(cells.get((key, song, stem))) for stem in results.names)]
        for song, key in sorted({(song, key) for key, song, _ in cells})
    ]


def _loss_facts(read: Losses) -> str:
    facts = []
    if read.train:
        facts.append(count(read.train[-1][0], "step"))
    if read.validation:
        step, best = min(read.validation, key=lambda point: point[1])
        facts.append(f"best validation loss {decibels(best)} at step {step:,}")
    if read.speed is not None:
        facts.append(f"{read.speed:.3g} examples per second (median)")
    return " · ".join(facts)

"""Scores per song and stem -> the table of a study, and one sentence about its gain.

Fast to import: no arrays, no pictures.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from storage.records import Record, SongScore
from training.report.formats import decibels, signed, span
from training.report.stems import STEM_COLUMNS, label, stem_order

TARGET_GAIN = 1.0
"""dB over the trivial estimate that a study should reach at least."""

FEW_SONGS = 10
"""With fewer songs a difference between two models is no evidence."""

FIELDS = {
    "cSDR": "csdr",
    "uSDR": "usdr",
    "uSDR (MDX21)": "usdr_mdx21",
    "SI-SDR": "si_sdr",
    "museval": "museval",
}
"""Metrics by the field of a score that holds them, in the order of a table's lines."""

MEDIANS = ("cSDR", "museval")
"""Metrics whose statistic over songs is the median; of the others it is the mean."""

Ends = tuple[float, float]
"""Both ends of a 95 % bootstrap interval over songs, in dB."""


class ScoreLine(Record):
    """One model under one metric, over a test set. In dB; None where undefined."""

    model: str
    metric: str
    songs: int
    """Songs with a score."""
    stems: tuple[float | None, ...]
    """In the order of the table's `stems`."""
    average: float | None
    """Mean of the stems; undefined as soon as one of them is."""
    ends: tuple[Ends | None, ...] = ()
    """Interval of each stem and then of the average; empty where none was asked for."""


class ScoreTable(Record):
    """Models by metrics, one line each."""

    lines: tuple[ScoreLine, ...]
    stems: tuple[str, ...] = STEM_COLUMNS
    """Names, in the order of the columns."""

    @property
    def headers(self) -> list[str]:
        """Return the column titles of `rows`."""
        stems = [label(stem) for stem in self.stems]
        return ["Model", "Metric", *stems, "Average", *(["95 %"] if self._sure else [])]

    @property
    def rows(self) -> list[list[str]]:
        """Return every line as text, numbers with two decimals."""
        return [
            [
                *(line.model, line.metric, *map(decibels, line.stems), decibels(line.average)),
                *([span(line.ends[-1] if line.ends else None)] if self._sure else []),
            ]
            for line in self.lines
        ]

    @property
    def _sure(self) -> bool:
        return any(line.ends for line in self.lines)

    def markdown(self) -> str:
        """Return the table as Markdown."""
        alignment = ["---", "---", *["---:"] * (len(self.headers) - 2)]
        rows = [[cell.replace("|", "\\|") for cell in row] for row in self.rows]
        return "".join(f"| {' | '.join(row)} |\n" for row in [self.headers, alignment, *rows])

    def records(self) -> list[dict[str, Any]]:
        """Return one flat mapping per line, numbers as numbers."""
        return [
            {
                "model": line.model,
                "metric": line.metric,
                **{
                    stem: rounded(value) for stem, value in zip(self.stems, line.stems, strict=True)
                },
                "average": rounded(line.average),
                **_named_ends(line),
                "songs": line.songs,
            }
            for line in self.lines
        ]

    def line(self, model: str, metric: str) -> ScoreLine | None:
        """Return a model's line under a metric, if it has one."""
        found = (line for line in self.lines if (line.model, line.metric) == (model, metric))
        return next(found, None)


def trivial_name(stems: Sequence[str]) -> str:
    """Return what a table calls the estimate without a model: each stem an equal share."""
    return f"mixture / {len(stems)}"


def score_table(
    rows: Sequence[tuple[str, list[SongScore]]],
    with_ends: bool = False,
    stems: Sequence[str] = (),
) -> ScoreTable:
    """Sum up each model's scores, then the trivial estimate's.

    cSDR is the median over songs; uSDR in both its forms and SI-SDR are the mean over songs.
    SI-SDR and museval's own numbers get a line where there are any.

    Args:
        rows: each model's name and its scores.
        with_ends: add bootstrap intervals, which take up to a second a line.
        stems: of the study; by default those of the scores (see `stem_order`).
    """
    lines, names = [], stem_order((score for _, scores in rows for score in scores), stems)
    for name, scores in rows:
        for metric, field in FIELDS.items():
            known = any(getattr(score, field) is not None for score in scores)
            if known or metric not in ("SI-SDR", "museval"):
                lines.append(_line((name, metric), scores, names, with_ends))
    trivial = _trivial_scores(rows)
    if trivial:
        lines.append(_line((trivial_name(names), "uSDR"), trivial, names, with_ends))
    return ScoreTable(lines=tuple(lines), stems=names)


def gain_over_trivial(scores: Sequence[SongScore], stems: Sequence[str] = ()) -> float:
    """Return uSDR averaged over the stems less that of the trivial estimate, in dB.

    Only songs for which both are defined count. NaN if a stem has no such song.
    """
    ours, trivial, _ = _against_trivial(scores, stems)
    return ours - trivial


def gain_line(name: str, scores: Sequence[SongScore], stems: Sequence[str] = ()) -> str:
    """Say in one sentence how far a model is above the trivial estimate, target met or not."""
    ours, trivial, trivially = _against_trivial(scores, stems)
    if math.isnan(ours):
        return f"{name}: no uSDR to compare with {trivially} yet."
    gain = ours - trivial
    verdict = "met" if gain >= TARGET_GAIN else "not met"
    return (
        f"{name}: uSDR {decibels(ours)} dB against {decibels(trivial)} dB for {trivially}, "
        f"averaged over the stems: {signed(gain)} dB (target: at least +{TARGET_GAIN:g} dB: "
        f"{verdict})"
    )


def rounded(value: float | None) -> float | None:
    """Return a number to the precision worth keeping, or None."""
    return None if value is None else round(value, 3)


def defined(value: float | None) -> float | None:
    """Return a score, or None where it is missing or not finite (a silent or perfect stem)."""
    return value if value is not None and math.isfinite(value) else None


def ends_of(scores_NS: Sequence[Sequence[float | None]], metric: str) -> tuple[Ends | None, ...]:
    """Return the interval of each stem and then of their average, given [songs, stems].

    Raises:
        ValueError: there is no song.
    """
    # Arrays are loaded only where intervals are wanted.
    from training.scoring.bootstrap import intervals  # noqa: PLC0415

    if not scores_NS:
        raise ValueError("no songs, no interval")
    found = intervals(scores_NS, "median" if metric in MEDIANS else "mean")
    return tuple(
        None if one is None else (one.low, one.high) for one in (*found.stems, found.average)
    )


def by_song(
    scores: Sequence[SongScore], field: str, stems: Sequence[str]
) -> dict[str, list[float | None]]:
    """Return each song's scores in the order of the stems, songs in the order of their names."""
    cells = {(score.song, score.stem): defined(getattr(score, field)) for score in scores}
    songs = sorted({score.song for score in scores})
    return {song: [cells.get((song, stem)) for stem in stems] for song in songs}


def _line(
    name: tuple[str, str], scores: Sequence[SongScore], stems: Sequence[str], with_ends: bool
) -> ScoreLine:
    """Return one line; `name` is that of its model and its metric."""
    model, metric = name
    over_songs = statistics.median if metric in MEDIANS else statistics.fmean
    songs = by_song(scores, FIELDS[metric], stems)
    columns = [
        [value for value in column if value is not None]
        for column in zip(*songs.values(), strict=True)
    ] or [[]] * len(stems)
    numbers = [over_songs(column) if column else None for column in columns]
    scored = [row for row in songs.values() if any(value is not None for value in row)]
    none: tuple[Ends | None, ...] = (None,) * (len(stems) + 1)
    return ScoreLine(
        model=model,
        metric=metric,
        songs=len(scored),
        stems=tuple(numbers),
        average=mean_of_all(numbers),
        ends=(ends_of(list(songs.values()), metric) if songs else none) if with_ends else (),
    )


def _named_ends(line: ScoreLine) -> dict[str, float | None]:
    """Return both ends of the average's interval, if any was asked for."""
    if not line.ends:
        return {}
    low, high = line.ends[-1] or (None, None)
    return {"average_low": rounded(low), "average_high": rounded(high)}


def mean_of_all(values: Sequence[float | None]) -> float | None:
    """Return the mean; None as soon as one value is: a mean of fewer stems is another number."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def _trivial_scores(rows: Sequence[tuple[str, list[SongScore]]]) -> list[SongScore]:
    """Return the trivial estimate's scores, as if it were a model; none if it was not scored."""
    # Models of one study share their test songs, so each song's trivial score counts once.
    songs = {(score.song, score.stem): score for _, scores in rows for score in scores}
    if all(score.usdr_trivial is None for score in songs.values()):
        return []
    return [
        SongScore(
            song=score.song, stem=score.stem, usdr=score.usdr_trivial, usdr_mdx21=None, csdr=None
        )
        for score in songs.values()
    ]


def _against_trivial(scores: Sequence[SongScore], stems: Sequence[str]) -> tuple[float, float, str]:
    """Return the averages of a model and of the trivial estimate, and what the latter is called."""
    # The stems are those of all scores, even where no pair is left of one of them.
    names = stem_order(scores, stems)
    paired = [
        score
        for score in scores
        if defined(score.usdr) is not None and defined(score.usdr_trivial) is not None
    ]
    table, name = score_table([("", paired)], stems=names), trivial_name(names)
    ours, trivial = table.line("", "uSDR"), table.line(name, "uSDR")
    if ours is None or trivial is None or ours.average is None or trivial.average is None:
        return math.nan, math.nan, name
    return ours.average, trivial.average, name

"""Scores per song and stem -> the table of a study, and one honest sentence about it.

Fast to import: no arrays, no pictures.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from storage.records import Record, SongScore

STEM_COLUMNS = ("vocals", "bass", "drums", "other")
"""The order in which papers print the stems."""

TRIVIAL = "mixture / 4"
"""The estimate that knows nothing: every stem is a quarter of the mixture."""

TARGET_GAIN = 1.0
"""dB over the trivial estimate that a study should reach at least."""

FEW_SONGS = 10
"""Below that many songs a difference between two models is hardly one."""

UNDEFINED = "–"

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
    """In the order of `STEM_COLUMNS`."""
    average: float | None
    """Mean of the four stems; undefined as soon as one of them is."""
    ends: tuple[Ends | None, ...] = ()
    """Interval of each stem and then of the average; empty where none was asked for."""


class ScoreTable(Record):
    """Models by metrics, one line each."""

    lines: tuple[ScoreLine, ...]

    @property
    def headers(self) -> list[str]:
        """Return the column titles of `rows`."""
        stems = [stem.capitalize() for stem in STEM_COLUMNS]
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
                    stem: rounded(value)
                    for stem, value in zip(STEM_COLUMNS, line.stems, strict=True)
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


def score_table(rows: Sequence[tuple[str, list[SongScore]]], with_ends: bool = False) -> ScoreTable:
    """Sum up each model's scores, then the trivial estimate's.

    cSDR is the median over songs, uSDR the mean over songs in both its forms, as SI-SDR is;
    SI-SDR's and museval's own numbers get a line where there are any. `with_ends` adds bootstrap
    intervals, which take up to a second a line.
    """
    lines = []
    for name, scores in rows:
        for metric, field in FIELDS.items():
            known = any(getattr(score, field) is not None for score in scores)
            if known or metric not in ("SI-SDR", "museval"):
                lines.append(_line(name, metric, scores, with_ends))
    # Models of one study share their test songs, so each song's trivial score counts once.
    songs = {(score.song, score.stem): score for _, scores in rows for score in scores}
    if any(score.usdr_trivial is not None for score in songs.values()):
        trivial = [
            SongScore(
                song=score.song,
                stem=score.stem,
                usdr=score.usdr_trivial,
                usdr_mdx21=None,
                csdr=None,
            )
            for score in songs.values()
        ]
        lines.append(_line(TRIVIAL, "uSDR", trivial, with_ends))
    return ScoreTable(lines=tuple(lines))


def gain_over_trivial(scores: Sequence[SongScore]) -> float:
    """Return uSDR averaged over the stems less that of the trivial estimate, in dB.

    Only songs for which both are defined count. NaN if a stem has no such song.
    """
    ours, trivial = _against_trivial(scores)
    return ours - trivial


def gain_line(name: str, scores: Sequence[SongScore]) -> str:
    """Say in one sentence how far a model is above the trivial estimate, target met or not."""
    ours, trivial = _against_trivial(scores)
    if math.isnan(ours):
        return f"{name}: no uSDR to set against {TRIVIAL} yet."
    gain = ours - trivial
    verdict = "met" if gain >= TARGET_GAIN else "not met"
    return (
        f"{name}: uSDR {decibels(ours)} dB against {decibels(trivial)} dB for {TRIVIAL}, averaged "
        f"over the stems: {signed(gain)} dB (target: at least +{TARGET_GAIN:g} dB: {verdict})"
    )


def decibels(value: float | None) -> str:
    """Return a number with two decimals and a true minus sign, or an en dash for none."""
    if defined(value) is None:
        return UNDEFINED
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")


def signed(value: float | None) -> str:
    """Return a difference with its sign."""
    text = decibels(value)
    return text if text[0] in "−–" else f"+{text}"


def span(ends: Ends | None) -> str:
    """Return an interval as `5.10 to 6.42`, or an en dash for none."""
    return f"{decibels(ends[0])} to {decibels(ends[1])}" if ends else UNDEFINED


def rounded(value: float | None) -> float | None:
    """Return a number to the precision worth keeping, or None."""
    return None if value is None else round(value, 3)


def defined(value: float | None) -> float | None:
    """Return a score, or None where it is missing or not finite (a silent or perfect stem)."""
    return value if value is not None and math.isfinite(value) else None


def ends_of(scores_NS: Sequence[Sequence[float | None]], metric: str) -> tuple[Ends | None, ...]:
    """Return the interval of each stem and of their average, given [songs, stems]."""
    # Arrays are loaded only where intervals are wanted.
    from training.scoring.bootstrap import intervals  # noqa: PLC0415

    if not scores_NS:
        return (None,) * (len(STEM_COLUMNS) + 1)
    found = intervals(scores_NS, "median" if metric in MEDIANS else "mean")
    return tuple(
        None if one is None else (one.low, one.high) for one in (*found.stems, found.average)
    )


def by_song(scores: Sequence[SongScore], field: str) -> dict[str, list[float | None]]:
    """Return each song's scores in the order of `STEM_COLUMNS`, songs in the order of names."""
    cells = {(score.song, score.stem): defined(getattr(score, field)) for score in scores}
    songs = sorted({score.song for score in scores})
    return {song: [cells.get((song, stem)) for stem in STEM_COLUMNS] for song in songs}


def _line(model: str, metric: str, scores: Sequence[SongScore], with_ends: bool) -> ScoreLine:
    over_songs = statistics.median if metric in MEDIANS else statistics.fmean
    songs = by_song(scores, FIELDS[metric])
    columns = [
        [value for value in column if value is not None]
        for column in zip(*songs.values(), strict=True)
    ] or [[]] * len(STEM_COLUMNS)
    stems = [over_songs(column) if column else None for column in columns]
    scored = [row for row in songs.values() if any(value is not None for value in row)]
    return ScoreLine(
        model=model,
        metric=metric,
        songs=len(scored),
        stems=tuple(stems),
        average=_mean_of_all(stems),
        ends=ends_of(list(songs.values()), metric) if with_ends else (),
    )


def _named_ends(line: ScoreLine) -> dict[str, float | None]:
    """Return both ends of the average's interval, if any was asked for."""
    if not line.ends:
        return {}
    low, high = line.ends[-1] or (None, None)
    return {"average_low": rounded(low), "average_high": rounded(high)}


def _mean_of_all(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    # An average over three stems would look like one over four and be another number.
    return statistics.fmean(known) if len(known) == len(STEM_COLUMNS) else None


def _against_trivial(scores: Sequence[SongScore]) -> tuple[float, float]:
    paired = [
        score
        for score in scores
        if defined(score.usdr) is not None and defined(score.usdr_trivial) is not None
    ]
    table = score_table([("", paired)])
    ours, trivial = table.line("", "uSDR"), table.line(TRIVIAL, "uSDR")
    if ours is None or trivial is None or ours.average is None or trivial.average is None:
        return math.nan, math.nan
    return ours.average, trivial.average

"""What pre-training is worth: uSDR from MixIT less uSDR from scratch, song by song."""

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from storage.records import Record, SongScore
from training.report import published
from training.report.markup import count
from training.report.tables import (
    FEW_SONGS,
    STEM_COLUMNS,
    Ends,
    by_song,
    decibels,
    ends_of,
    signed,
)

PAPER_GAINS = (0.31, 0.51, 0.55)
"""dB of uSDR that the paper's small, large and medium rows gain (its Table 1)."""


class Pairing(NamedTuple):
    """The scores of two separators of one variant or seed, alike but for where they began."""

    name: str
    tuned: Sequence[SongScore]
    scratch: Sequence[SongScore]


class Gain(Record):
    """A paired difference in uSDR, in dB: from MixIT less from scratch."""

    name: str
    songs: int
    stems: tuple[float | None, ...]
    """In the order of `STEM_COLUMNS`."""
    average: float | None
    """Mean of the four stems."""
    ends: Ends | None
    """95 % bootstrap interval of `average` over songs."""
    spread: float | None = None
    """Standard deviation over seeds (n - 1), where there are several."""
    paper: Ends | None = None
    """What the paper reports for the like: one number twice, or a range."""

    def sentence(self) -> str:
        """Say the gain, how sure it is, and what the paper reports."""
        if self.average is None:
            return f"{self.name}: no song is scored under both; there is no difference yet."
        said = f"{self.name}: MixIT pre-training is worth {signed(self.average)} dB uSDR on "
        said += count(self.songs, "song")
        if self.ends:
            said += f" (95 % over songs: {signed(self.ends[0])} to {signed(self.ends[1])} dB)"
        if self.spread is not None:
            said += f", with a standard deviation over seeds of {decibels(self.spread)} dB"
        return f"{said}{self._beside()}. {self._shows()}"

    def _beside(self) -> str:
        if self.paper is None:
            return ""
        low, high = self.paper
        return f"; the paper has {signed(low)}{f' to {signed(high)}' if high > low else ''} dB"

    def _shows(self) -> str:
        if self.songs < FEW_SONGS or self.ends is None:
            return "So few songs make an illustration, not evidence."
        if self.ends[0] > 0:
            return "The interval lies above zero."
        if self.ends[1] < 0:
            return "The interval lies below zero: here pre-training costs more than it gives."
        return "The interval holds zero: no gain shows."


def paper_gain(table: str, variant: str) -> Ends | None:
    """Return what the paper's rows of a table gain in uSDR, all sizes' range for a seed."""
    if table == "mixit_gain":
        return min(PAPER_GAINS), max(PAPER_GAINS)
    scratch = published.beside(table, variant, "from scratch")[1]
    tuned = published.beside(table, variant, "MixIT")[1]
    if scratch is None or tuned is None:
        return None
    return tuned - scratch, tuned - scratch


def gain_of(name: str, pairings: Sequence[Pairing], paper: Ends | None = None) -> Gain:
    """Return the mean gain over pairings (seeds), whose songs are scored under both separators.

    Each song's difference is averaged over the pairings first, so that songs are what is drawn
    again for the interval; the spread over pairings is told apart from it.
    """
    each = [_differences(one) for one in pairings]
    songs = sorted(set.intersection(*(set(one) for one in each))) if each else []
    rows = [_mean_of([one[song] for one in each]) for song in songs]
    averages = [_average(_columns(list(one.values()))) for one in each]
    means = [average for average in averages if average is not None]
    return Gain(
        name=name,
        songs=len(songs),
        stems=tuple(_columns(rows)),
        average=_average(_columns(rows)),
        ends=ends_of(rows, "uSDR")[-1],
        spread=statistics.stdev(means) if len(means) > 1 else None,
        paper=paper,
    )


def _differences(pairing: Pairing) -> Mapping[str, list[float | None]]:
    tuned, scratch = by_song(pairing.tuned, "usdr"), by_song(pairing.scratch, "usdr")
    return {
        song: [
            None if one is None or other is None else one - other
            for one, other in zip(tuned[song], scratch[song], strict=True)
        ]
        for song in tuned.keys() & scratch.keys()
    }


def _mean_of(rows: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Return each column's mean; undefined as soon as one of its values is."""
    means: list[float | None] = []
    for column in zip(*rows, strict=True):
        known = [value for value in column if value is not None]
        means.append(statistics.fmean(known) if len(known) == len(column) else None)
    return means


def _columns(rows: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Return each column's mean over the songs that have a value there."""
    found = [
        [value for row in rows if (value := row[column]) is not None]
        for column in range(len(STEM_COLUMNS))
    ]
    return [statistics.fmean(column) if column else None for column in found]


def _average(stems: Sequence[float | None]) -> float | None:
    known = [value for value in stems if value is not None]
    return statistics.fmean(known) if len(known) == len(STEM_COLUMNS) else None

"""What pre-training is worth: uSDR from MixIT less uSDR from scratch, song by song."""

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from storage.records import Record, SongScore
from training.report import published_scores
from training.report.formats import count, decibels, signed
from training.report.score_tables import FEW_SONGS, Ends, by_song, ends_of, mean_of_all
from training.report.stems import stem_order

PAPER_GAINS = (0.31, 0.51, 0.55)
"""dB of uSDR that the paper's small, large and medium rows gain (its Table 1)."""


class Pairing(NamedTuple):
    """The scores of two separators of one variant or seed that differ only in how they started."""

    name: str
    tuned: Sequence[SongScore]
    scratch: Sequence[SongScore]


class Gain(Record):
    """A paired difference in uSDR, in dB: from MixIT less from scratch."""

    name: str
    songs: int
    stems: tuple[float | None, ...]
    """In the order of the table's stems."""
    average: float | None
    """Mean of the stems; None as soon as one of them is."""
    ends: Ends | None
    """95 % bootstrap interval of `average` over songs."""
    spread: float | None = None
    """Standard deviation over seeds (n - 1), where there are several."""
    paper: Ends | None = None
    """What the paper reports for such a pair: one number twice, or a range."""

    def sentence(self) -> str:
        """Say the gain, how sure it is, and what the paper reports."""
        if self.average is None:
            return f"{self.name}: no song is scored for both models; there is no difference yet."
        text = f"{self.name}: MixIT pre-training is worth {signed(self.average)} dB uSDR on "
        text += count(self.songs, "song")
        if self.ends:
            text += f" (95 % over songs: {signed(self.ends[0])} to {signed(self.ends[1])} dB)"
        if self.spread is not None:
            text += f", with a standard deviation over seeds of {decibels(self.spread)} dB"
        return f"{text}{self._beside()}. {self._conclusion()}"

    def _beside(self) -> str:
        if self.paper is None:
            return ""
        low, high = self.paper
        return f"; the paper has {signed(low)}{f' to {signed(high)}' if high > low else ''} dB"

    def _conclusion(self) -> str:
        if self.songs < FEW_SONGS or self.ends is None:
            return "So few songs are an illustration, not evidence."
        if self.ends[0] > 0:
            return "The interval lies above zero."
        if self.ends[1] < 0:
            return "The interval lies below zero: here pre-training costs more than it gives."
        return "The interval contains zero: no gain is shown."


def paper_gain(table: str, variant: str) -> Ends | None:
    """Return what the paper's rows of a table gain in uSDR, all sizes' range for a seed."""
    if table == "mixit_gain":
        return min(PAPER_GAINS), max(PAPER_GAINS)
    scratch = published_scores.beside(table, variant, "from scratch")[1]
    tuned = published_scores.beside(table, variant, "MixIT")[1]
    if scratch is None or tuned is None:
        return None
    return tuned - scratch, tuned - scratch


def gain_of(
    name: str,
    pairings: Sequence[Pairing],
    paper: Ends | None = None,
    stems: Sequence[str] = (),
) -> Gain:
    """Return the mean gain over pairings (seeds) of the songs that both separators are scored on.

    Each song's difference is averaged over the pairings first, so that songs are what is drawn
    again for the interval; the spread over pairings is reported separately.

    Args:
        name: of the gain.
        pairings: one a seed.
        paper: what the paper reports, if it does.
        stems: in the order of the result; by default those of the scores (see `stem_order`).
    """
    scores = (score for one in pairings for part in (one.tuned, one.scratch) for score in part)
    names = stem_order(scores, stems)
    each = [_differences(one, names) for one in pairings]
    songs = sorted(set.intersection(*(set(one) for one in each))) if each else []
    rows = [_mean_of([one[song] for one in each]) for song in songs]
    averages = [mean_of_all(_columns(list(one.values()), names)) for one in each]
    means = [average for average in averages if average is not None]
    columns = _columns(rows, names)
    return Gain(
        name=name,
        songs=len(songs),
        stems=tuple(columns),
        average=mean_of_all(columns),
        ends=ends_of(rows, "uSDR")[-1] if rows else None,
        spread=statistics.stdev(means) if len(means) > 1 else None,
        paper=paper,
    )


def _differences(pairing: Pairing, stems: Sequence[str]) -> Mapping[str, list[float | None]]:
    tuned, scratch = (by_song(one, "usdr", stems) for one in (pairing.tuned, pairing.scratch))
    return {
        song: [
            None if one is None or other is None else one - other
            for one, other in zip(tuned[song], scratch[song], strict=True)
        ]
        for song in tuned.keys() & scratch.keys()
    }


def _mean_of(rows: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Return each column's mean; undefined as soon as one of its values is."""
    return [mean_of_all(column) for column in zip(*rows, strict=True)]


def _columns(rows: Sequence[Sequence[float | None]], stems: Sequence[str]) -> list[float | None]:
    """Return each stem's mean over the songs that have a value there."""
    found = [
        [value for row in rows if (value := row[column]) is not None]
        for column in range(len(stems))
    ]
    return [statistics.fmean(column) if column else None for column in found]

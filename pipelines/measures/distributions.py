"""How a corpus's music is distributed over each measure: hours by ranges, as a census has them."""

from bisect import bisect_right
from collections.abc import Iterable

from pipelines.measures.measure import Figure
from pipelines.measures.table import FIGURES
from storage.records import LedgerRow, Record


class Distribution(Record):
    """Hours of decoded music by one figure of their tracks."""

    words: str
    """What the figure is, as the heading of a picture."""
    edges: tuple[float, ...]
    """Where the ranges meet: an edge belongs to the range above it."""
    hours: tuple[float, ...]
    """Of each range, from the open one below the first edge to the open one above the last."""


class Distributions:
    """Adds up ledger rows; what it holds does not grow with them."""

    def __init__(self, figures: Iterable[Figure] = FIGURES) -> None:
        self._seconds = {figure: [0.0] * (len(figure.edges) + 1) for figure in figures}

    def add(self, rows: Iterable[LedgerRow]) -> None:
        """Add the tracks of which anything was measured, whatever became of them."""
        for row in rows:
            for figure, seconds in self._seconds.items():
                value = row.measures.get(figure.name)
                if value is not None:
                    seconds[bisect_right(figure.edges, value)] += row.seconds

    def found(self) -> dict[str, Distribution]:
        """Return the distribution of each figure that any track has, by its name."""
        return {
            figure.name: Distribution(
                words=figure.words,
                edges=figure.edges,
                hours=tuple(round(one / 3600, 6) for one in seconds),
            )
            for figure, seconds in self._seconds.items()
            if any(seconds)
        }

"""What became of each song of a stems corpus: kept, filtered or quarantined, none left out."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from storage.errors import DataError
from storage.home.layout import Corpus
from storage.manifests import write_rows
from storage.records import LedgerRow
from storage.tally import Tally

LEDGER = "songs"
"""Names the ledger of a stems corpus, which has one for all its songs."""
NAMED = 5
"""Songs that an error names; the others are in the ledger."""


OnProgress = Callable[[int, int], None]
"""Called with the number of songs done, and of all songs."""


class Finding(NamedTuple):
    """The result of examining one song: its length in frames, or why it cannot be used."""

    frames: int = 0
    reason: str = ""
    detail: str = ""


def close_ledger(corpus: Corpus, rows: Sequence[LedgerRow], error_budget: float) -> None:
    """Write one row per song.

    Raises:
        DataError: a larger share of songs than `error_budget` is quarantined, or none is kept.
    """
    path = corpus.ledger(LEDGER)
    write_rows(path, rows)
    tally = Tally.of(rows)
    if tally.failed > error_budget * tally.total:
        faulty = [row for row in rows if row.outcome == "quarantined"]
        named = "; ".join(f"{row.track}: {row.detail}" for row in faulty[:NAMED])
        raise DataError(
            f"{tally.failed} of {tally.total} songs cannot be used, more than musdb.error_budget="
            f"{error_budget:g} allows ({named}{'; ...' if len(faulty) > NAMED else ''}); repair or "
            f"remove them (all are in {path}), or raise the budget"
        )
    if not tally.kept:
        raise DataError(
            f"none of {tally.total} songs is kept (why is in {path}); loosen musdb.max_stems, or "
            "repair the songs"
        )

"""What became of each song of a stems corpus: kept, filtered or quarantined, none lost unsaid."""

from collections.abc import Sequence
from typing import NamedTuple

from storage.errors import DataError
from storage.home.layout import Corpus
from storage.manifests import write_rows
from storage.records import LedgerRow

LEDGER = "songs"
"""Names the ledger of a stems corpus, which has one for all its songs."""
NAMED = 5
"""Songs that an error names; the others are in the ledger."""


class Finding(NamedTuple):
    """What examining one song brought: its length, or why it cannot be used."""

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
    faulty = [row for row in rows if row.outcome == "quarantined"]
    if len(faulty) > error_budget * len(rows):
        named = "; ".join(f"{row.track}: {row.detail}" for row in faulty[:NAMED])
        raise DataError(
            f"{len(faulty)} of {len(rows)} songs cannot be used, more than musdb.error_budget="
            f"{error_budget:g} allows ({named}{'; ...' if len(faulty) > NAMED else ''}); mend or "
            f"remove them (all are in {path}), or raise the budget"
        )
    if not any(row.outcome == "kept" for row in rows):
        raise DataError(
            f"none of {len(rows)} songs is kept (why is in {path}); loosen musdb.max_stems, or "
            "mend the songs"
        )

"""All tracks of a corpus as one Parquet file, which pandas, DuckDB and others ask directly.

A row is a ledger row beside what the plan says of the track. Figures of a track are columns, those
of its seconds lists. Rows are written in groups, so that memory does not grow with the corpus.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.measures.measure import Kind
from pipelines.measures.table import MEASURES
from storage.files import arriving
from storage.records import LedgerRow, Track

GROUP = 512
"""Tracks that are held until they are written."""
PLANNED = ("artist", "title", "licence", "genre", "member", "bytes", "duplicate_of")
"""Fields of a planned track that its ledger row has not."""
NUMBERS: dict[object, pa.DataType] = {int: pa.int64(), float: pa.float64()}
LISTED = {"losses": pa.list_(pa.list_(pa.float64()))}
NESTED = ("measures", "by_second")
"""Fields that become a column for each of their names."""


def schema(kinds: Sequence[Kind] = MEASURES) -> pa.Schema:
    """Return the columns: of the ledger row, of the plan, of each measure."""
    fields = [
        (name, LISTED.get(name) or NUMBERS.get(field.annotation, pa.string()))
        for name, field in LedgerRow.model_fields.items()
        if name not in NESTED
    ]
    fields[1:1] = [
        (name, NUMBERS.get(Track.model_fields[name].annotation, pa.string())) for name in PLANNED
    ]
    fields += [
        (figure.name, pa.int64() if figure.whole else pa.float64())
        for kind in kinds
        for figure in kind.figures
    ]
    fields += [(kind.by_second, pa.list_(pa.float64())) for kind in kinds]
    return pa.schema(fields)


class TrackTable:
    """Writes rows in groups of `GROUP` tracks or a few more."""

    def __init__(self, path: Path) -> None:
        self._schema = schema()
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._write()
            self._writer.close()
            return
        # What is left of it is removed; a disk that is full is reported once.
        with suppress(OSError):
            self._writer.close()

    def add(self, tracks: Sequence[Track], rows: Sequence[LedgerRow]) -> None:
        """Add tracks as they were planned, and what became of each, in the same order."""
        for track, row in zip(tracks, rows, strict=True):
            values = row.model_dump(exclude=set(NESTED))
            planned = {name: getattr(track, name) for name in PLANNED}
            self._rows.append(values | planned | row.measures | row.by_second)
        if len(self._rows) >= GROUP:
            self._write()

    def _write(self) -> None:
        table = pa.Table.from_pylist(self._rows, self._schema)
        self._writer.write_table(table)
        self._rows = []


@contextmanager
def track_table(path: Path) -> Iterator[TrackTable]:
    """Write a file that is there only when it is whole.

    Raises:
        MachineError: the disk is full or forbidden.
    """
    with arriving(path) as temporary, TrackTable(temporary) as table:
        yield table

"""Records as JSON lines or as a table: written whole and durably, read back typed."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from storage.errors import ManifestError
from storage.files import write_bytes
from storage.records import Record

Row = TypeVar("Row", bound=Record)


def write_rows(path: Path, rows: Iterable[Record]) -> None:
    """Write records, one JSON object a line, durably and at once."""
    text = "".join(row.model_dump_json() + "\n" for row in rows)
    write_bytes(path, text.encode())


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """Read records of one kind.

    Raises:
        ManifestError: the file is missing, or a line is no such record; it names the line.
    """
    if not path.is_file():
        raise ManifestError(f"manifest {path} is missing; run the stage that writes it again")
    rows = []
    # As bytes: text would also break at characters that titles may hold, such as U+2028.
    lines = path.read_bytes().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            rows.append(kind.model_validate_json(line))
        except ValidationError as error:
            raise ManifestError(
                f"{path} line {number} is no {kind.__name__} ({error.errors()[0]['msg']}); "
                "delete the file and run the stage that writes it again"
            ) from error
    return rows


def write_table(path: Path, kind: type[Row], rows: Iterable[Row]) -> None:
    """Write records of text as CSV (RFC 4180) under their fields' names, durably and at once."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(kind.model_fields)
    writer.writerows(row.model_dump().values() for row in rows)
    write_bytes(path, text.getvalue().encode())


def read_table(path: Path, kind: type[Row]) -> list[Row]:
    """Read records of text from CSV.

    Raises:
        ManifestError: the file is missing, or a row is no such record.
    """
    if not path.is_file():
        raise ManifestError(f"table {path} is missing; run the stage that writes it again")
    try:
        rows = csv.DictReader(io.StringIO(path.read_bytes().decode(), newline=""), strict=True)
        return [kind.model_validate(row) for row in rows]
    except (ValueError, csv.Error) as error:
        raise ManifestError(
            f"{path} is no table of {kind.__name__} rows ({error}); delete the file and run the "
            "stage that writes it again"
        ) from error

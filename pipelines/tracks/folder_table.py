"""`tracks.csv` of a folder: facts that names do not give, matched with the folder's files."""

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from storage.errors import ManifestError, nearest
from storage.names.spelling import composed, printable, stored_path

TABLE = "tracks.csv"
"""In the folder's root, optional: a row for each file with more facts than its name gives."""
COLUMNS = ("path", "artist", "title", "licence", "genre", "split")
"""Of `TABLE`; all but the first may be missing or empty. Paths are relative to the root."""
BINDING = ("split", "licence")
"""Columns that decide what may be trained on: a row with one of them must match a file."""

Warn = Callable[[str], None]
Facts = dict[str, str]
"""A row's cells that are not empty, by their columns, without the path."""


class _Row(NamedTuple):
    line: int
    path: str
    facts: Facts


def read_table(root: Path, paths: Sequence[str], warn: Warn) -> dict[str, Facts]:
    """Return the facts of each path that `tracks.csv` has a row for; nothing without the file.

    Paths match in whatever form of Unicode, with `\\` for `/`, and with `./`. A file whose name
    cannot be printed is named as its `Track.member` is.

    Args:
        root: the folder.
        paths: its files, relative to it, separated by `/`.
        warn: called with a sentence for each row that matches no file and decides nothing.

    Raises:
        ManifestError: the table is malformed; a row that names a split or a licence matches no
            file; or it is not clear which file a row is of.
    """
    table = root / TABLE
    if not table.is_file():
        return {}
    rows = list(_rows(table))
    exact = {stored_path(path): path for path in paths}
    alike = defaultdict[str, list[str]](list)
    for path in paths:
        alike[_plain(stored_path(path))].append(path)
    _require_clear(table, rows, alike)
    found: dict[str, _Row] = {}
    for row in rows:
        matches = [exact[row.path]] if row.path in exact else alike.get(_plain(row.path), [])
        if not matches:
            _refuse_or_warn(table, row, exact, warn)
        for path in matches:
            earlier = found.setdefault(path, row)
            if earlier.facts != row.facts:
                raise ManifestError(
                    f"{printable(table)} lines {earlier.line} and {row.line} say different things "
                    f"of {stored_path(path)!a}; keep one of the two"
                )
    return {path: row.facts for path, row in found.items()}


def _plain(path: str) -> str:
    """Return one spelling for all that mean the same file."""
    first, *others = composed(path).replace("\\", "/").split("/")
    parts = [first, *(part for part in others if part)]
    return "/".join(part for part in parts if part != ".")


def _require_clear(table: Path, rows: Iterable[_Row], alike: dict[str, list[str]]) -> None:
    """Refuse rows that resemble several files, unless there is a row for each of these."""
    spelled = {row.path for row in rows}
    for row in rows:
        resembling = [stored_path(path) for path in alike.get(_plain(row.path), [])]
        if len(resembling) > 1 and not spelled.issuperset(resembling):
            raise ManifestError(
                f"{printable(table)} line {row.line} names {row.path!r}, which may be "
                f"{' or '.join(map(ascii, resembling))}; delete or rename one, or give each a row"
            )


def _refuse_or_warn(table: Path, row: _Row, known: Iterable[str], warn: Warn) -> None:
    """Report a row without a file; raise `ManifestError` if what it says must not be lost."""
    what = f"{printable(table)} line {row.line} names {row.path!r}"
    binding = [f"{name} '{row.facts[name]}'" for name in BINDING if name in row.facts]
    if not binding:
        warn(f"{what}, which is no audio file in the folder")
        return
    close = nearest(row.path, known)
    meant = f" (did you mean '{close}'?)" if close else ""
    raise ManifestError(
        f"{what} with {' and '.join(binding)}, but there is no such audio file in the folder: "
        f"correct the path{meant}, or delete the line"
    )


def _rows(table: Path) -> Iterable[_Row]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            _require_columns(table, reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(
            f"{printable(table)} is no readable table ({error}); save it as UTF-8 CSV"
        ) from error
    for line, row in rows:
        path = row.pop("path")
        if None in row or None in row.values():
            raise ManifestError(
                f"{printable(table)} line {line} does not have as many cells as the first; correct "
                "it"
            )
        yield _Row(line, path, {name: cell for name, cell in row.items() if cell})


def _require_columns(table: Path, columns: Any) -> None:
    unknown = sorted(set(columns) - set(COLUMNS))
    if unknown or "path" not in columns:
        raise ManifestError(
            f"{printable(table)} has the columns {', '.join(columns)}; it may have "
            f"{', '.join(COLUMNS)}, and must have path"
        )

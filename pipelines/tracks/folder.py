"""Any folder of audio as an unlabelled corpus -> `Track`s."""

import csv
import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipelines.archives.zip_archive import Progress
from pipelines.tracks.duplicates import mark_duplicates
from storage.errors import DataError, ManifestError
from storage.records import Track

SUFFIXES = frozenset(
    f".{kind}"
    for kind in (
        *("3gp", "aac", "ac3", "aif", "aifc", "aiff", "amr", "ape", "asf", "au", "avi", "bwf"),
        *("caf", "dsf", "dts", "eac3", "flac", "flv", "latm", "loas", "m4a", "m4b", "mka", "mkv"),
        *("mov", "mp1", "mp2", "mp3", "mp4", "mpc", "mpga", "oga", "ogg", "opus", "rf64", "snd"),
        *("spx", "ts", "tta", "w64", "wav", "webm", "wma", "wv"),
    )
)
"""Of file names, whatever their case: what libsndfile or FFmpeg decodes."""
TABLE = "tracks.csv"
"""In the folder's root, optional: a row for each file with more facts than its name gives."""
COLUMNS = ("path", "artist", "title", "licence", "genre", "split")
"""Of `TABLE`; all but the first may be missing or empty. Paths are relative to the root."""
KEY_DIGITS = 12
"""Of a path's sha1 that a track is called by."""
THREADS = 4
"""That hash at a time: reading is what takes time."""

log = logging.getLogger(__name__)

Warn = Callable[[str], None]


def read_folder(
    root: Path, progress: Progress | None = None, warn: Warn = log.warning
) -> list[Track]:
    """Return a track for each audio file under a folder, by path; each file is read once.

    A track is called by the first 12 hex digits of its path's sha1: moving the whole folder
    renames none. The title is the file's name and the artist its folder's, unless `tracks.csv`
    names others. Hidden files are left out, as are links out of the folder. A file that cannot be
    read stays in, without a sha1, and is quarantined when it is packed.

    Args:
        root: the folder.
        progress: called with the bytes of each file as it is read.
        warn: called with a sentence for each file that is left out or cannot be read.

    Raises:
        DataError: there is no such folder, or no audio in it.
        ManifestError: `tracks.csv` is malformed.
    """
    if not root.is_dir():
        raise DataError(
            f"{root} is no folder; put the audio there, or name its folder with --set data.root=DIR"
        )
    paths = sorted(_audio(root, warn))
    if not paths:
        raise DataError(
            f"{root} holds no audio (files named {', '.join(sorted(SUFFIXES))}); name the folder "
            "that does with --set data.root=DIR"
        )
    described = _described(root, set(paths), warn)
    tracks = list(_tracks(root, paths, described, progress, warn))
    _require_distinct(tracks)
    return mark_duplicates(tracks)


def _tracks(
    root: Path,
    paths: list[str],
    described: dict[str, dict[str, str]],
    progress: Progress | None,
    warn: Warn,
) -> Iterator[Track]:
    """Hash files in a few threads; yield their tracks in order."""
    with ThreadPoolExecutor(THREADS) as threads:
        hashes = threads.map(lambda path: _hash(root / path), paths)
        for path, (size, sha1) in zip(paths, hashes, strict=True):
            if isinstance(sha1, OSError):
                warn(f"{root / path} cannot be read ({sha1.strerror}); check its permissions")
            known = None if isinstance(sha1, OSError) else sha1
            yield _track(path, size, known, described.get(path, {}))
            if progress:
                progress(size)


def _audio(root: Path, warn: Warn) -> Iterator[str]:
    """Yield the relative paths of audio files; report what is passed over."""
    passed: Counter[str] = Counter()
    for folder, folders, names in os.walk(root, onerror=lambda error: warn(_unreadable(error))):
        for name in [*folders]:
            # What a link inside the root leads to is found there; anything else is left out.
            if name.startswith(".") or (Path(folder) / name).is_symlink():
                passed["hidden or linked folders"] += 1
                folders.remove(name)
        for name in names:
            path = Path(folder) / name
            if name.startswith("."):
                passed["hidden files"] += 1
            elif path.suffix.lower() not in SUFFIXES:
                passed["files that are no audio by their name"] += path != root / TABLE
            elif fault := _fault(root, path):
                warn(f"{path.relative_to(root).as_posix()!r} is left out: {fault}")
            else:
                yield path.relative_to(root).as_posix()
    for what, count in sorted(passed.items()):
        if count:
            warn(f"{count} {what} in {root} are left out")


def _fault(root: Path, path: Path) -> str:
    """Return why a file cannot be a track; empty if it can."""
    if not path.relative_to(root).as_posix().isprintable():
        return "its name cannot be written down; rename it"
    if not path.resolve().is_relative_to(root.resolve()):
        return f"it is a link out of {root}; copy the file there"
    return "" if path.is_file() else "it is no file, or a link to none"


def _unreadable(error: OSError) -> str:
    return f"{error.filename} cannot be listed ({error.strerror}); check its permissions"


def _hash(path: Path) -> tuple[int, str | OSError]:
    """Return a file's bytes and sha1, or what keeps it from being read."""
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            return size, hashlib.file_digest(stream, "sha1").hexdigest()
    except OSError as error:
        return size, error


def _track(path: str, size: int, sha1: str | None, described: dict[str, str]) -> Track:
    key = hashlib.sha1(path.encode()).hexdigest()[:KEY_DIGITS]
    folder, _, name = path.rpartition("/")
    values: dict[str, Any] = {
        "title": name.rpartition(".")[0],
        "artist": folder.rpartition("/")[2],
    } | described
    try:
        return Track(id=key, member=path, bytes=size, sha1=sha1, **values)
    except ValidationError as error:
        raise ManifestError(
            f"{TABLE}, {path}: {error.errors()[0]['msg']}, not {error.errors()[0]['input']!r}"
        ) from error


def _require_distinct(tracks: list[Track]) -> None:
    members: dict[str, str] = {}
    for track in tracks:
        other = members.setdefault(track.id, track.member)
        if other != track.member:
            raise DataError(
                f"{other} and {track.member} have one key, {track.id}; rename one of them"
            )


def _described(root: Path, paths: set[str], warn: Warn) -> dict[str, dict[str, str]]:
    """Return the cells of `tracks.csv` by path; nothing without the file."""
    table = root / TABLE
    if not table.is_file():
        return {}
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            _require_columns(table, reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(
            f"{table} is no readable table ({error}); save it as UTF-8 CSV"
        ) from error
    described = {}
    for line, row in rows:
        path = row.pop("path")
        if None in row or None in row.values():
            raise ManifestError(
                f"{table} line {line} does not have as many cells as the first; correct it"
            )
        if path not in paths:
            warn(f"{table} line {line} names {path!r}, which is no audio file in the folder")
        described[path] = {name: cell for name, cell in row.items() if cell}
    return described


def _require_columns(table: Path, columns: Any) -> None:
    unknown = sorted(set(columns) - set(COLUMNS))
    if unknown or "path" not in columns:
        raise ManifestError(
            f"{table} has the columns {', '.join(columns)}; it may have {', '.join(COLUMNS)}, and "
            "must have path"
        )

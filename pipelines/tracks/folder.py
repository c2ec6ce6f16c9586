"""Any folder of audio as an unlabelled corpus -> `Track`s."""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipelines.archives.litter import is_litter
from pipelines.archives.zip_archive import Progress
from pipelines.tracks.duplicates import mark_duplicates
from pipelines.tracks.folder_table import TABLE, Warn, read_table
from storage.errors import DataError, ManifestError
from storage.names.spelling import printable, stored_path
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
KEY_DIGITS = 12
"""Of a path's sha1 that a track is called by."""
THREADS = 4
"""That hash at a time: reading is what takes time."""

log = logging.getLogger(__name__)


def read_folder(
    root: Path, progress: Progress | None = None, warn: Warn = log.warning
) -> list[Track]:
    """Return a track for each audio file under a folder, by path; each file is read once.

    A track is called by the first 12 hex digits of its path's sha1: moving the whole folder
    renames none. The title is the file's name and the artist its folder's, unless `tracks.csv`
    names others. Hidden files are left out, as are links out of the folder and what systems and
    network drives put there. A file that cannot be read stays in, without a sha1, and is
    quarantined when it is packed. A name may be any bytes: `Track.member` is its `stored_path`.

    Args:
        root: the folder.
        progress: called with the bytes of each file as it is read.
        warn: called with a sentence for each file that is left out or cannot be read.

    Raises:
        DataError: there is no such folder, or no audio in it.
        ManifestError: `tracks.csv` is malformed, or names a split or a licence of a file that is
            not there.
    """
    if not root.is_dir():
        raise DataError(
            f"{printable(root)} is no folder; put the audio there, or name its folder with --set "
            "data.root=DIR"
        )
    paths = sorted(_audio(root, warn))
    if not paths:
        raise DataError(
            f"{printable(root)} holds no audio (files named {', '.join(sorted(SUFFIXES))}); name "
            "the folder that does with --set data.root=DIR"
        )
    described = read_table(root, paths, warn)
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
                reason = f"cannot be read ({sha1.strerror}); check its permissions"
                warn(f"{printable(root / path)} {reason}")
            known = None if isinstance(sha1, OSError) else sha1
            yield _track(path, size, known, described.get(path, {}))
            if progress:
                progress(size)


def _audio(root: Path, warn: Warn) -> Iterator[str]:
    """Yield the relative paths of audio files; report what is passed over."""
    passed: Counter[str] = Counter()
    for folder, folders, names in os.walk(root, onerror=lambda error: warn(_unreadable(error))):
        for name in [*folders]:
            if kind := _kind_left_out(Path(folder) / name):
                passed[kind] += 1
                folders.remove(name)
        for name in names:
            path = Path(folder) / name
            if name.startswith("."):
                passed["hidden files"] += 1
            elif path.suffix.lower() not in SUFFIXES:
                passed["files that are no audio by their name"] += path != root / TABLE
            elif fault := _fault(root, path):
                warn(f"'{printable(path.relative_to(root).as_posix())}' is left out: {fault}")
            else:
                yield path.relative_to(root).as_posix()
    for what, count in sorted(passed.items()):
        if count:
            warn(f"{count} {what} in {printable(root)} are left out")


def _kind_left_out(folder: Path) -> str:
    """Return what a folder is that is not looked into; empty if it is."""
    # What a link inside the root leads to is found there; anything else is left out.
    if folder.name.startswith(".") or folder.is_symlink():
        return "hidden or linked folders"
    return f"folders of the system ({folder.name})" if is_litter(folder.name) else ""


def _fault(root: Path, path: Path) -> str:
    """Return why a file cannot be a track; empty if it can."""
    if not path.resolve().is_relative_to(root.resolve()):
        return f"it is a link out of {printable(root)}; copy the file there"
    return "" if path.is_file() else "it is no file, or a link to none"


def _unreadable(error: OSError) -> str:
    return f"{printable(error.filename)} cannot be listed ({error.strerror}); check its permissions"


def _hash(path: Path) -> tuple[int, str | OSError]:
    """Return a file's bytes and sha1, or what keeps it from being read."""
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            return size, hashlib.file_digest(stream, "sha1").hexdigest()
    except OSError as error:
        return size, error


def _track(path: str, size: int, sha1: str | None, described: dict[str, str]) -> Track:
    folder, _, name = path.rpartition("/")
    values: dict[str, Any] = {
        "title": printable(name.rpartition(".")[0]),
        "artist": printable(folder.rpartition("/")[2]),
    } | described
    member = stored_path(path)
    try:
        return Track(id=path_key(path), member=member, bytes=size, sha1=sha1, **values)
    except ValidationError as error:
        raise ManifestError(
            f"{TABLE}, {member}: {error.errors()[0]['msg']}, not {error.errors()[0]['input']!r}"
        ) from error


def path_key(path: str) -> str:
    """Return what a track is called whose path is all that is known of it: digits of its sha1."""
    return hashlib.sha1(os.fsencode(path)).hexdigest()[:KEY_DIGITS]


def _require_distinct(tracks: list[Track]) -> None:
    members: dict[str, str] = {}
    for track in tracks:
        other = members.setdefault(track.id, track.member)
        if other != track.member:
            raise DataError(
                f"{other} and {track.member} have one key, {track.id}; rename one of them"
            )

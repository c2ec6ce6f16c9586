"""A folder of recordings, known by its content as an archive is by its checksum."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from pipelines.archives.litter import is_litter
from pipelines.archives.zip_archive import Progress
from storage.errors import DataError
from storage.files import BLOCK


def check_folder(folder: Path, progress: Progress | None = None) -> str:
    """Read every file of a folder once; return the sha1 of their names and sha1s.

    Neither the folder's own path nor the files' times matter. `progress` is called with each
    block's bytes.

    Raises:
        DataError: it is no folder.
    """
    whole = hashlib.sha1()
    for path in _files(folder):
        one = hashlib.sha1()
        with path.open("rb") as stream:
            while block := stream.read(BLOCK):
                one.update(block)
                if progress:
                    progress(len(block))
        name = os.fsencode(path.relative_to(folder))
        whole.update(one.hexdigest().encode() + b"  " + name + b"\n")
    return whole.hexdigest()


def folder_state(folder: Path) -> tuple[int, int]:
    """Return the bytes of all files, and the newest time (ns) of any file or folder in it.

    Raises:
        DataError: it is no folder.
    """
    paths = list(_files(folder))
    inside = {parent for path in paths for parent in path.parents if parent.is_relative_to(folder)}
    newest = max(path.stat().st_mtime_ns for path in [*paths, *inside, folder])
    return sum(path.stat().st_size for path in paths), newest


def require_folder(folder: Path) -> None:
    """Raise `DataError` unless there is a folder."""
    if not folder.is_dir():
        raise DataError(
            f"folder {folder} is missing; put it there, or name its parent with --set data.root=DIR"
        )


def _files(folder: Path) -> Iterator[Path]:
    """Yield files in the order of their names; links are followed, each folder once.

    What is hidden, and what systems put there, is no part of a corpus, and may change at any time.
    """
    require_folder(folder)
    seen = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        here = Path(parent)
        if here.resolve() in seen:
            folders.clear()
            continue
        seen.add(here.resolve())
        folders[:] = sorted(name for name in folders if not _passed_over(name))
        for name in sorted(names):
            if not _passed_over(name) and (here / name).is_file():
                yield here / name


def _passed_over(name: str) -> bool:
    return name.startswith(".") or is_litter(name)

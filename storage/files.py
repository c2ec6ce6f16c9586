"""Durable bytes: atomic replacement, checksums, locks that die with their holder, disk space."""

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from storage.errors import LockedError, MachineError, ManifestError

BLOCK = 1 << 20


@contextlib.contextmanager
def arriving(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it becomes `path` durably and at once.

    Raises:
        MachineError: the disk is full, read-only or forbidden; nothing is left under `path`.
    """
    # Threads of one process may bring the same file, too.
    writer = f"{os.getpid()}-{threading.get_ident()}"
    temporary = path.with_name(f".{path.name}.{writer}.arriving")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def clear_remains(*paths: Path) -> None:
    """Remove what killed writers left of files half written.

    The caller holds the lock on these files: a writer at work would lose its own.
    """
    for path in paths:
        for remains in path.parent.glob(f".{glob.escape(path.name)}.*.arriving"):
            remains.unlink(missing_ok=True)


def remove_arriving(folder: Path, pattern: str = "*") -> None:
    """Remove what killed writers left of files whose names match a shell pattern.

    The caller holds the lock on these files, as for `clear_remains`.
    """
    parent, _, name = pattern.rpartition("/")
    for remains in folder.glob(f"{parent}/.{name}.*.arriving".lstrip("/")):
        remains.unlink(missing_ok=True)


def write_at(descriptor: int, position: int, data: bytes | memoryview) -> int:
    """Write all bytes at a position of an open file, from any thread; return where they end."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, position)
        rest, position = rest[written:], position + written
    return position


def sync(path: Path) -> None:
    """Return when a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file durably and at once."""
    with arriving(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON value durably, sorted and indented so that people can read and compare it."""
    write_bytes(
        path, (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()
    )


def read_json(path: Path) -> Any:
    """Read a JSON value; raise `ManifestError` that names the file when it is none."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ManifestError(f"{path} is missing; run what makes it again") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ManifestError(
            f"{path} is not readable JSON ({error}); delete it and run again"
        ) from error


def hash_file(path: Path) -> str:
    """Return a file's sha256 in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full, read-only or forbidden disk into one clear `MachineError`."""
    try:
        yield
    except OSError as error:
        remedies = {
            errno.ENOSPC: "no space is left; free some, or use another --home",
            errno.EDQUOT: "the quota is used up; free some space, or use another --home",
            errno.EROFS: "the file system is read-only; use another --home",
            errno.EACCES: "permission is denied; use another --home, or change its owner",
            errno.EPERM: "permission is denied; use another --home, or change its owner",
            errno.ENOTDIR: "part of the path is a file, not a folder; use another --home",
        }
        if error.errno not in remedies:
            raise
        raise MachineError(f"cannot write {path}: {remedies[error.errno]}") from error


def nearest(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that exists."""
    return next(path for path in [folder, *folder.parents] if path.exists())


def free_bytes(folder: Path) -> int:
    """Return how much may still be written to the disk of a folder, which need not exist yet."""
    return shutil.disk_usage(nearest(folder)).free


def require_space(folder: Path, needed: int, purpose: str) -> None:
    """Raise `MachineError` unless the disk under `folder` has `needed` bytes free."""
    free = free_bytes(folder)
    if free < needed:
        raise MachineError(
            f"{purpose} needs {needed / 1e9:.2f} GB under {folder}, but {free / 1e9:.2f} GB are "
            "free; free some space, or use another --home"
        )


@contextlib.contextmanager
def only_one(path: Path, what: str) -> Iterator[None]:
    """Hold an exclusive lock; the kernel releases it when the holder dies, however it dies.

    Raises:
        LockedError: another process holds it.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+")
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockedError(
                f"{what} is being done by another process ({_holder(stream)})",
                "wait for it, or end it, then run again",
            ) from error
        # The kernel holds the lock; naming the holder is a courtesy, and the disk may be full.
        with contextlib.suppress(OSError):
            os.truncate(stream.fileno(), 0)
            os.write(stream.fileno(), f"pid {os.getpid()}".encode())
        yield


def _holder(stream: IO[str]) -> str:
    stream.seek(0)
    return stream.read(40) or "unknown pid"

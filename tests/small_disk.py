"""A real file system that is as full as a test wants it.

Memory disks are mounted where the process may; where it may not, the test runs again by itself in
a namespace of its own, where it may.
"""

import functools
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec

import pytest

from storage.errors import MachineError

Words = ParamSpec("Words")
NAMESPACE = "STEMWORKS_TEST_NAMESPACE"
PAGE = os.sysconf("SC_PAGE_SIZE")
PENDING = (".arriving", ".partial", ".part", ".part.json")
NOTES = (*PENDING, ".lock", ".failed")
"""Ends of names that nobody takes for finished files."""
MOUNTS = "cannot mount a memory disk, neither here nor in a namespace of its own"


class SmallDisk:
    """A memory disk, on which a ballast file takes what is to be taken."""

    def __init__(self, root: Path, size: int) -> None:
        self.root, self.size = root, size
        self._ballast = root / "ballast"

    def leave(self, room: int) -> None:
        """Leave so many bytes, rounded up to pages."""
        self.free()
        free = os.statvfs(self.root)
        taken = free.f_bavail * free.f_frsize - -(-room // PAGE) * PAGE
        with self._ballast.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, taken)

    def free(self) -> None:
        """Give all back."""
        self._ballast.unlink(missing_ok=True)

    def files(self, under: str) -> dict[str, str]:
        """Return the sha256 of every finished file under a folder, by its name in it."""
        return {
            path.relative_to(self.root / under).as_posix(): _sha256(path)
            for path in sorted((self.root / under).rglob("*"))
            if path.is_file() and not path.name.endswith(NOTES)
        }

    def pending(self, under: str) -> list[str]:
        """Return what is half written, or noted as failed, under a folder."""
        names = (path.name for path in (self.root / under).rglob("*"))
        return [name for name in names if name.endswith((*PENDING, ".failed"))]


def on_small_disks(test: Callable[Words, None]) -> Callable[Words, None]:
    """Run a test that mounts disks where that is allowed; skip it where it nowhere is."""

    @functools.wraps(test)
    def wrapper(*args: Words.args, **kwargs: Words.kwargs) -> None:
        if _may_mount():
            return test(*args, **kwargs)
        alone = ["unshare", "--user", "--map-root-user", "--mount"]
        allowed = subprocess.run([*alone, "true"], check=False, capture_output=True).returncode == 0
        if not allowed or NAMESPACE in os.environ:
            pytest.skip(MOUNTS)
        name = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
        again = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", name]
        answer = subprocess.run(
            [*alone, *again], env={**os.environ, NAMESPACE: "1"}, check=False,
            capture_output=True, text=True,
        )  # fmt: skip
        assert answer.returncode == 0, answer.stdout + answer.stderr
        if MOUNTS in answer.stdout:
            pytest.skip(MOUNTS)
        return None

    return wrapper


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[SmallDisk]:
    """Mount a memory disk of `size` bytes on a new folder."""
    folder.mkdir(parents=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    subprocess.run(words, check=True)
    try:
        yield SmallDisk(folder, size)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def survives(
    disk: SmallDisk,
    work: Callable[[Path], object],
    steps: int = 8,
    pages: Sequence[int] = (0, 1, 2, 4),
) -> list[str]:
    """Do work in a folder on a disk that is full, then less full, until there is room for it.

    Whenever it fails it must say so in one `MachineError` that names a place on the disk and the
    remedy, leave no other file under a final name than the whole one, and succeed in the same
    folder once there is room, with the same bytes as undisturbed. Returns what it said.

    The rooms tried are some pages, then as many `steps`-ths of what it leaves as are needed.
    """
    disk.free()
    work(_folder(disk, "undisturbed"))
    whole = disk.files("undisturbed")
    needed = sum(path.stat().st_size for path in (disk.root / "undisturbed").rglob("*"))
    rooms = [*(page * PAGE for page in pages), *(needed * part // steps for part in range(1, 40))]
    said: list[str] = []
    for room in rooms:
        name = f"with-{room}"
        folder = _folder(disk, name)
        disk.leave(room)
        try:
            work(folder)
        except MachineError as error:
            _require_clear(disk, str(error))
            said.append(str(error))
            left = disk.files(name)
            assert left.items() <= whole.items(), f"{left} is not of {whole}"
            disk.free()
            work(folder)
            assert disk.files(name) == whole
            assert not disk.pending(name)
        else:
            assert disk.files(name) == whole
            return said
        _remove(folder)
    raise AssertionError(f"{room} bytes are still not enough for {needed}")


def _require_clear(disk: SmallDisk, message: str) -> None:
    assert str(disk.root) in message, message
    assert "free" in message, message
    assert "--home" in message, message


def _folder(disk: SmallDisk, name: str) -> Path:
    folder = disk.root / name
    folder.mkdir()
    return folder


def _remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def _may_mount() -> bool:
    if os.geteuid():
        return False
    trial = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(trial, check=False, capture_output=True).returncode == 0


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

"""`Store`: named bytes at rest, wherever they rest. `FolderStore` keeps them in a folder.

A name is a path relative to a home, with slashes: `fma/0a1b/shards/0003-00.tar`. What is stored
under a name appears whole or not at all, and is never half replaced.
"""

import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from storage.errors import IntegrityError, ManifestError
from storage.files import arriving, disk_errors, hash_file, only_one, write_bytes


class Seen(NamedTuple):
    """What a look at a stored object tells without reading it."""

    bytes: int
    version: str
    """Another one whenever the content may be another: a file's time, an object's ETag."""


class Unfinished(NamedTuple):
    """What a dead writer left half stored, and no listing shows."""

    name: str
    bytes: int
    """0 of an upload in parts: to tell it, a bucket would have to be asked for each part."""
    upload: str = ""
    """What a bucket calls an upload in parts; empty of a file."""


class Store(Protocol):
    """Whatever keeps the bytes of a home."""

    @property
    def url(self) -> str:
        """Return the address by which another process opens this store."""
        ...

    def seen(self, name: str) -> Seen | None:
        """Look at one object; None if there is none."""
        ...

    def listing(self, folder: str) -> dict[str, Seen]:
        """Look at every object whose name begins with `folder` and a slash, by its name."""
        ...

    def read(self, name: str, start: int = 0, length: int = -1) -> bytes:
        """Return an object's bytes, or `length` of them from `start` on; -1 reads to the end.

        Raises:
            ManifestError: there is no such object.
            IntegrityError: it ends before `start + length`.
        """
        ...

    def write(self, name: str, data: bytes) -> Seen:
        """Store bytes under a name, in place of what was there."""
        ...

    def put(self, name: str, path: Path, sha256: str) -> Seen:
        """Store a finished file, whose sha256 is known, under a name.

        Bytes that are there already are not sent again.
        """
        ...

    def get(self, name: str, path: Path, sha256: str = "") -> None:
        """Bring an object to a file, which appears only when whole.

        Raises:
            ManifestError: there is no such object.
            IntegrityError: its bytes have another sha256.
        """
        ...

    def remove(self, name: str) -> None:
        """Forget an object; one that is not there is no error."""
        ...

    def unfinished(self, older_seconds: float) -> list[Unfinished]:
        """List what dead writers left half stored.

        What is still under way looks alike: name an age that no writing takes.
        """
        ...

    def discard(self, left: Unfinished) -> None:
        """Throw away what `unfinished` listed."""
        ...

    def alone(self, name: str, what: str) -> AbstractContextManager[None]:
        """Hold a lock that no other process of any machine holds, and that dies with its holder.

        Raises:
            LockedError: another holds it; `what` is said to be under way.
        """
        ...


class FolderStore:
    """Objects as files in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def url(self) -> str:
        """Return the folder's path."""
        return str(self.root)

    def seen(self, name: str) -> Seen | None:
        """Look at one file."""
        try:
            status = (self.root / name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Seen(status.st_size, str(status.st_mtime_ns))

    def listing(self, folder: str) -> dict[str, Seen]:
        """Look at every file under a folder, those still arriving left out."""
        found = {}
        for path in sorted((self.root / folder).rglob("*")):
            name = path.relative_to(self.root).as_posix()
            arrives = path.name.startswith(".") and path.name.endswith(".arriving")
            if not arrives and path.is_file() and (seen := self.seen(name)):
                found[name] = seen
        return found

    def read(self, name: str, start: int = 0, length: int = -1) -> bytes:
        """Return a file's bytes, or a part of them."""
        try:
            with (self.root / name).open("rb") as stream:
                stream.seek(start)
                data = stream.read(length)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _missing(self.root / name) from error
        if length >= 0 and len(data) != length:
            raise IntegrityError(
                f"{self.root / name} ends at byte {start + len(data)}, before {start + length}; "
                "run what makes it again"
            )
        return data

    def write(self, name: str, data: bytes) -> Seen:
        """Write a file durably and at once."""
        write_bytes(self.root / name, data)
        return self._seen(name)

    def put(self, name: str, path: Path, sha256: str) -> Seen:
        """Take a file in; one that is in its place already stays as it is."""
        if path != self.root / name:
            with arriving(self.root / name) as temporary:
                shutil.copyfile(path, temporary)
        return self._seen(name)

    def get(self, name: str, path: Path, sha256: str = "") -> None:
        """Copy a file to another place; one that is in its place already is only checked."""
        source = self.root / name
        if not source.is_file():
            raise _missing(source)
        if sha256 and hash_file(source) != sha256:
            raise IntegrityError(f"{source} is altered; run what makes it again")
        if source != path:
            with arriving(path) as temporary:
                shutil.copyfile(source, temporary)

    def remove(self, name: str) -> None:
        """Delete a file."""
        with disk_errors(self.root):
            (self.root / name).unlink(missing_ok=True)

    def unfinished(self, older_seconds: float) -> list[Unfinished]:
        """List files whose writers died while they arrived."""
        oldest = time.time() - older_seconds
        found = []
        for path in sorted(self.root.rglob(".*.arriving")):
            # One that is under way may be done, and gone, by now.
            with suppress(FileNotFoundError):
                status = path.stat()
                if stat.S_ISREG(status.st_mode) and status.st_mtime <= oldest:
                    name = path.relative_to(self.root).as_posix()
                    found.append(Unfinished(name, status.st_size))
        return found

    def discard(self, left: Unfinished) -> None:
        """Delete a file that never arrived."""
        self.remove(left.name)

    @contextmanager
    def alone(self, name: str, what: str) -> Iterator[None]:
        """Hold a file lock of this machine."""
        with only_one(self.root / name, what):
            yield

    def _seen(self, name: str) -> Seen:
        seen = self.seen(name)
        if seen is None:
            raise _missing(self.root / name)
        return seen


def _missing(path: Path) -> ManifestError:
    return ManifestError(f"{path} is missing; run what makes it again")

"""`Store`: the bytes of a home, kept as named objects. `FolderStore` keeps them in a folder.

A name is a path relative to a home, with slashes: `fma/0a1b/shards/0003-00.tar`. An object appears
whole or not at all, and is never half replaced.
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
    """Size and version of an object, known without reading it."""

    bytes: int
    version: str
    """Changes whenever the content may have changed: a file's time, an object's ETag."""


class Unfinished(NamedTuple):
    """An incomplete object of a writer that died; listings do not show it."""

    name: str
    bytes: int
    """0 for a multipart upload: its size would take one request for each part."""
    upload: str = ""
    """The id of a multipart upload; empty for a file, or an object that a test left."""


class Store(Protocol):
    """Keeps the bytes of a home."""

    @property
    def url(self) -> str:
        """The address with which another process opens this store."""
        ...

    def seen(self, name: str) -> Seen | None:
        """Return size and version of an object; None if there is none."""
        ...

    def listing(self, folder: str) -> dict[str, Seen]:
        """Return size and version of every object in a folder, by its name."""
        ...

    def read(self, name: str, start: int = 0, length: int = -1) -> bytes:
        """Return an object's bytes, or `length` of them from `start` on; -1 reads to the end.

        Raises:
            ManifestError: there is no such object.
            IntegrityError: it ends before `start + length`.
        """
        ...

    def write(self, name: str, data: bytes) -> Seen:
        """Store bytes under a name, replacing an earlier object."""
        ...

    def put(self, name: str, path: Path, sha256: str) -> Seen:
        """Store a finished file, whose sha256 is known, under a name.

        An object that is already stored with these bytes is not uploaded again.
        """
        ...

    def get(self, name: str, path: Path, sha256: str = "") -> None:
        """Copy an object to a file, which appears only when complete.

        Raises:
            ManifestError: there is no such object.
            IntegrityError: its bytes have another sha256.
        """
        ...

    def remove(self, name: str) -> None:
        """Delete an object; a missing one is no error."""
        ...

    def unfinished(self, older_seconds: float) -> list[Unfinished]:
        """List incomplete objects that are older than this.

        An object that is being written now looks the same: give an age that no writing reaches.
        """
        ...

    def discard(self, left: Unfinished) -> None:
        """Delete an incomplete object that `unfinished` listed."""
        ...

    def alone(self, name: str, what: str) -> AbstractContextManager[None]:
        """Hold a lock that is exclusive across all machines, and released if its process dies.

        Raises:
            LockedError: another process holds it; the message says that `what` is being done.
        """
        ...


class FolderStore:
    """Objects as files in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def url(self) -> str:
        """The folder's path."""
        return str(self.root)

    def seen(self, name: str) -> Seen | None:
        """Return size and version of a file; None if there is none."""
        try:
            status = (self.root / name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Seen(status.st_size, str(status.st_mtime_ns))

    def listing(self, folder: str) -> dict[str, Seen]:
        """Return size and version of every file under a folder, without incomplete ones."""
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
                "run the stage that makes it again"
            )
        return data

    def write(self, name: str, data: bytes) -> Seen:
        """Write a file durably and atomically."""
        write_bytes(self.root / name, data)
        return self._seen(name)

    def put(self, name: str, path: Path, sha256: str) -> Seen:
        """Copy a file into the folder, unless it is the stored file itself."""
        if path != self.root / name:
            with arriving(self.root / name) as temporary:
                shutil.copyfile(path, temporary)
        return self._seen(name)

    def get(self, name: str, path: Path, sha256: str = "") -> None:
        """Check a file and copy it to `path`, unless it is that file already."""
        source = self.root / name
        if not source.is_file():
            raise _missing(source)
        if sha256 and hash_file(source) != sha256:
            raise IntegrityError(f"{source} has been altered; run the stage that makes it again")
        if source != path:
            with arriving(path) as temporary:
                shutil.copyfile(source, temporary)

    def remove(self, name: str) -> None:
        """Delete a file."""
        with disk_errors(self.root):
            (self.root / name).unlink(missing_ok=True)

    def unfinished(self, older_seconds: float) -> list[Unfinished]:
        """List temporary files of writers that died."""
        oldest = time.time() - older_seconds
        found = []
        for path in sorted(self.root.rglob(".*.arriving")):
            # A file that was being written may be complete, and renamed, by now.
            with suppress(FileNotFoundError):
                status = path.stat()
                if stat.S_ISREG(status.st_mode) and status.st_mtime <= oldest:
                    name = path.relative_to(self.root).as_posix()
                    found.append(Unfinished(name, status.st_size))
        return found

    def discard(self, left: Unfinished) -> None:
        """Delete a temporary file."""
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
    return ManifestError(f"{path} is missing; run the stage that makes it again")

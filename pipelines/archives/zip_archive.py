"""A zip archive's directory, local or remote, and its members read in place: nothing is trusted.

The Free Music Archive's members are bzip2-compressed, which most unzip programs refuse.
"""

import contextlib
import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Self, TypeVar

from pipelines.archives.byte_ranges import RangeStream, Slice
from pipelines.archives.known_archives import require_final
from pipelines.archives.remote_file import RemoteFile
from pipelines.archives.sources import Source
from pipelines.archives.zip_directory import read_directory
from pipelines.archives.zip_members import (
    HEADER,
    Member,
    MemberStream,
    data_begins,
    header_fault,
    unpacked,
)
from storage.errors import DataError, IntegrityError, ManifestError
from storage.files import BLOCK, arriving
from storage.records import Track
from storage.retry_policy import DEFAULT_RETRIES, RetryPolicy

MAXIMUM_MEMBER = 64 << 20
"""Bytes of a member that may be read into memory: FMA-full's list of checksums has a tenth. A few
hundred bytes of bzip2 can claim gigabytes."""

Progress = Callable[[int], None]
Found = TypeVar("Found")


def check_archive(
    path: Path,
    sha1: str | None = None,
    md5: str | None = None,
    progress: Progress | None = None,
    sha256: str | None = None,
) -> str:
    """Read an archive once and return its sha1; `progress` is called with each block's bytes.

    Raises:
        DataError: there is no such file.
        IntegrityError: a published checksum is not the file's, or it is a withdrawn release.
    """
    _require_file(path)
    expected = {"sha1": sha1, "md5": md5, "sha256": sha256}
    digests = {
        kind: hashlib.new(kind) for kind, value in expected.items() if value or kind == "sha1"
    }
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            for digest in digests.values():
                digest.update(block)
            if progress:
                progress(len(block))
    found = {kind: digest.hexdigest() for kind, digest in digests.items()}
    require_final(str(path), found["sha1"])
    for kind, value in found.items():
        promised = (expected[kind] or value).lower()
        if promised != value:
            raise IntegrityError(
                f"{path} has {kind} {value}, but {promised} is published; the download is damaged "
                "or another release: fetch it again"
            )
    return found["sha1"]


class ArchiveReader:
    """A zip, local or on a server, open for reading by one thread.

    Raises:
        DataError: there is no such file.
        IntegrityError: the file is no zip, or lists a member that no correct archive has: a name
            that leads out of its folder or comes twice, a link, an encrypted one, one stored by an
            unknown method, or one that shares its bytes with another.
        SourceError: the server does not deliver, or holds another file than the source's pins say.
    """

    def __init__(self, archive: Path | Source, retries: RetryPolicy = DEFAULT_RETRIES) -> None:
        self._remote: RemoteFile | None = None
        self._stream: io.BufferedReader | RangeStream
        if isinstance(archive, Source) and archive.remote:
            self._remote = RemoteFile(archive.location, archive.bytes, archive.etag, 1, retries)
            self.path = self._remote.name
        else:
            self.path = str(archive.location if isinstance(archive, Source) else archive)
        try:
            self._stream, self.size = self._opened()
            self._members = self.twice(lambda: read_directory(self._stream, self.path, self.size))
        except BaseException:
            self.close()
            raise

    def _opened(self) -> tuple[io.BufferedReader | RangeStream, int]:
        if self._remote is not None:
            stream = RangeStream(self._remote)
            return stream, stream.size
        path = Path(self.path)
        _require_file(path)
        return path.open("rb"), path.stat().st_size

    @property
    def source(self) -> Source:
        """Return where the archive is, pinned to what it is now."""
        location = self.path if self._remote is None else self._remote.url
        etag = "" if self._remote is None else self._remote.etag
        return Source(location=location, bytes=self.size, etag=etag)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, or the connection."""
        if hasattr(self, "_stream"):
            self._stream.close()
        if self._remote is not None:
            self._remote.close()

    def members(self) -> list[Member]:
        """Return all files of the archive in its order."""
        return list(self._members.values())

    def member(self, name: str) -> Member:
        """Return what the directory promises of one file; `IntegrityError` if it has none."""
        member = self._members.get(name)
        if member is None:
            raise IntegrityError(
                f"{self.path} has no member {name}; it is not the archive that was planned: put "
                "that one back, or plan again"
            )
        return member

    def read(self, name: str) -> bytes:
        """Return a member's bytes, its size and CRC checked.

        Raises:
            IntegrityError: there is no such member, it is damaged, or absurdly large.
        """
        member = self.member(name)
        if member.bytes > MAXIMUM_MEMBER:
            raise IntegrityError(
                f"{name} in {self.path} claims {member.bytes} bytes, more than any list has "
                f"({MAXIMUM_MEMBER}); fetch the archive from its publisher"
            )
        return self.twice(lambda: b"".join(self._blocks(member)))

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Yield a member as a stream; damage met while it is read is an `IntegrityError`.

        Size and CRC are checked when the last byte is read; `twice` is the caller's.
        """
        with io.BufferedReader(MemberStream(self._blocks(self.member(name)))) as stream:
            yield stream

    def extract(self, name: str, destination: Path, progress: Progress | None = None) -> None:
        """Write a member to a file that appears only when whole, its size and CRC checked.

        Raises:
            IntegrityError: there is no such member, or it is damaged.
            MachineError: the disk is full or forbidden.
        """
        member = self.member(name)

        def write() -> None:
            with temporary.open("wb") as target:
                for block in self._blocks(member):
                    target.write(block)
                    if progress:
                        progress(len(block))

        with arriving(destination) as temporary:
            self.twice(write)

    def twice(self, read: Callable[[], Found]) -> Found:
        """Return what `read` returns; where bytes of a server are damaged, fetch them once more.

        They may have been damaged on their way, or in a cache.
        """
        try:
            return read()
        except (IntegrityError, ManifestError):
            if not isinstance(self._stream, RangeStream):
                raise
            self._stream.forget()
        return read()

    def _blocks(self, member: Member) -> Iterator[bytes]:
        end = member.offset + HEADER.size + len(member.name.encode()) + member.packed_bytes
        if isinstance(self._stream, RangeStream):
            self._stream.expect(end)
        stored = Slice(self._stream, member.offset, self.size - member.offset)
        header = stored.read(HEADER.size) or b""
        begin = data_begins(header)
        header += stored.read(begin - len(header)) or b""
        if fault := header_fault(header, member):
            raise IntegrityError(
                f"{member.name} in {self.path} is damaged (at byte {member.offset} {fault}); fetch "
                "the archive again"
            )
        packed = Slice(self._stream, member.offset + begin, member.packed_bytes)
        yield from unpacked(packed, member, self.path)


def still_lists(source: Source, track: Track) -> bool:
    """Say whether a zip's directory lists a track just as it was planned.

    It tells a member with a damaged header from another archive under the same name.

    Raises:
        SourceError: the server does not deliver, or holds another file than the source's pins say.
    """
    if source.form == "folder":
        return False
    try:
        with ArchiveReader(source) as reader:
            found = reader.member(track.member)
    except IntegrityError:
        return False
    return (found.bytes, found.crc, found.offset, found.packed_bytes, found.method) == (
        track.bytes, track.crc, track.offset, track.packed_bytes, track.method
    )  # fmt: skip


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise DataError(
            f"archive {path} is missing; put it there, or name its folder with --set data.root=DIR"
        )

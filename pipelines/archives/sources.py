"""Where an archive's bytes are, and one way to read them: a remote zip, a local zip, a folder.

A track's stored bytes are fetched first and extracted later: threads wait for the network, and a
process of its own extracts, where damage does no harm.
"""

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal, NamedTuple, Self

from pipelines.archives.byte_ranges import Slice
from pipelines.archives.known_archives import Published
from pipelines.archives.remote_file import ELSEWHERE, RemoteFile
from pipelines.archives.zip_members import (
    HEADER,
    LONGEST_HEADER,
    METHODS,
    Member,
    data_begins,
    header_fault,
    unpacked,
)
from storage.errors import IntegrityError, SourceError
from storage.files import BLOCK, disk_errors
from storage.names.spelling import found_path, printable
from storage.records import Record, Track
from storage.retry_policy import DEFAULT_RETRIES, RetryPolicy

SLACK = 1024
"""Bytes read beyond what a local header should take: its extra fields are in no directory."""


class Source(Record):
    """Where an archive's bytes are, and what they were when its tracks were planned."""

    location: str
    """Absolute path of a zip or of a folder, or the http(s) address of a zip."""
    form: Literal["zip", "folder"] = "zip"
    bytes: int = 0
    """Of the zip; 0 where it was not recorded."""
    etag: str = ""
    """Of the server's file; every range is asked for with If-Match."""

    @property
    def remote(self) -> bool:
        """Whether a server has it."""
        return self.location.startswith(("http://", "https://"))


def pinned(archive: Published, retries: RetryPolicy = DEFAULT_RETRIES) -> Source:
    """Return a published archive as its server has it now, to be recorded in a plan.

    Raises:
        SourceError: it has no public address; or the server does not answer, contradicts what is
            published, or serves no ranges.
    """
    with RemoteFile(archive.address(), retries=retries) as remote:
        head = remote.look()
    archive.require(head.bytes, head.etag)
    if not head.ranges or not head.bytes:
        raise SourceError(
            f"{remote.name} is on a server that ignores ranges; {ELSEWHERE}, or use --set "
            "data.access=download"
        )
    return Source(location=remote.url, bytes=head.bytes, etag=head.etag)


class Extent(NamedTuple):
    """Where a track's stored bytes are on this machine.

    Of a zip's member the local header comes first; a folder's file is just itself.
    """

    path: Path
    offset: int
    bytes: int
    """At most: a local header's length is known only when it is read."""
    archive: str = ""
    """What messages call the archive."""
    remote: Source | None = None
    """The archive on a server that the bytes were fetched from."""


class Fetcher:
    """Brings stored bytes of a source to this machine. Threads share it; processes open their own.

    Args:
        source: the archive or folder that was planned.
        connections: to its server, at a time.
        retries: of requests to its server.
    """

    def __init__(
        self, source: Source, connections: int = 6, retries: RetryPolicy = DEFAULT_RETRIES
    ) -> None:
        self.source = source
        self._remote: RemoteFile | None = None
        if source.remote:
            if source.form == "folder":
                raise SourceError(
                    f"{source.location} is on a server, where folders cannot be listed; name a zip"
                )
            self._remote = RemoteFile(
                source.location, source.bytes, source.etag, connections, retries
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        if self._remote is not None:
            self._remote.close()

    @contextlib.contextmanager
    def fetched(self, track: Track, scratch: Path) -> Iterator[Extent]:
        """Yield where a track's stored bytes are; what was fetched for it is removed afterwards.

        Local archives are read where they are. Remote members come in one range, into a file
        under `scratch` that is named `.<track>.*.arriving` as long as it exists.

        Raises:
            SourceError: the server does not deliver; or the archive or file is missing, or is not
                the one that was planned.
            MachineError: the disk is full or forbidden.
        """
        if self._remote is None:
            yield self._in_folder(track) if self.source.form == "folder" else self._in_zip(track)
            return
        with contextlib.ExitStack() as stack:
            with disk_errors(scratch):
                scratch.mkdir(parents=True, exist_ok=True)
                target = tempfile.NamedTemporaryFile(  # noqa: SIM115  closed by the stack
                    dir=scratch, prefix=f".{track.id}.", suffix=".arriving", delete=False
                )
                stack.callback(_discard, target)
                size = _download(self._remote, track, target.file)
            yield Extent(Path(target.name), 0, size, self._remote.name, self.source)

    def _in_zip(self, track: Track) -> Extent:
        path = Path(self.source.location)
        size = _size_of(path)
        if self.source.bytes not in (0, size):
            raise SourceError(
                f"{path} has {size} bytes, not {self.source.bytes} as when it was planned; put "
                "that archive back, or plan again"
            )
        longest = LONGEST_HEADER + track.packed_bytes
        return Extent(path, track.offset, max(0, min(longest, size - track.offset)), str(path))

    def _in_folder(self, track: Track) -> Extent:
        root = Path(self.source.location)
        path = root / found_path(track.member)
        if not path.resolve().is_relative_to(root.resolve()):
            raise SourceError(f"{track.member} leads out of {printable(root)}; plan again")
        size = _size_of(path)
        if size != track.bytes:
            raise SourceError(
                f"{printable(path)} has {size} bytes, not {track.bytes} as when it was planned; "
                "put that file back, or plan again"
            )
        return Extent(path, 0, size, str(root))


def extract(extent: Extent, track: Track, target: IO[bytes]) -> str:
    """Write a track's plain bytes to `target`; return their sha1 in hex.

    Memory is bounded whatever the track's size, and no more than `track.bytes` are ever written.
    Bytes from a server that are damaged are fetched once more: they may have been damaged on their
    way, or in a cache.

    Raises:
        IntegrityError: the bytes are damaged, too few or too many, or cannot be read.
        SourceError: another member is there, or the sizes differ: it is not the archive that
            was planned; or the server does not deliver.
    """
    start = target.tell()
    try:
        return _extract(extent, track, target)
    except (IntegrityError, SourceError):
        if extent.remote is None:
            raise
    target.seek(start)
    target.truncate()
    with (
        Fetcher(extent.remote, connections=1) as fetcher,
        fetcher.fetched(track, extent.path.parent) as second,
    ):
        return _extract(second, track, target)


def _extract(extent: Extent, track: Track, target: IO[bytes]) -> str:
    digest = hashlib.sha1()
    for block in _of_folder(extent, track) if track.crc is None else _of_zip(extent, track):
        digest.update(block)
        target.write(block)
    return digest.hexdigest()


def _of_folder(extent: Extent, track: Track) -> Iterator[bytes]:
    left = track.bytes
    try:
        with extent.path.open("rb") as stream:
            while block := stream.read(min(BLOCK, left)):
                left -= len(block)
                yield block
    except OSError as error:
        raise IntegrityError(
            f"{track.member} in {extent.archive} cannot be read ({error.strerror}); check its "
            "permissions and its disk"
        ) from error
    if left:
        raise IntegrityError(
            f"{track.member} in {extent.archive} ends {left} bytes early; put the file back"
        )


def _of_zip(extent: Extent, track: Track) -> Iterator[bytes]:
    assert track.crc is not None
    name = track.member
    member = Member(name, track.bytes, track.crc, track.offset, track.packed_bytes, track.method)
    archive = extent.archive or str(extent.path)
    with extent.path.open("rb") as stream:
        stored = Slice(stream, extent.offset, extent.bytes)
        header = stored.read(HEADER.size) or b""
        begin = data_begins(header)
        header += stored.read(begin - len(header)) or b""
        fault = header_fault(header, member)
        if track.method not in METHODS:
            fault = f"it is planned as stored by method {track.method}"
        if fault:
            raise SourceError(
                f"{name} was planned at byte {track.offset} of {archive}, but {fault}; put the "
                "planned archive back, or plan again"
            )
        if begin + member.packed_bytes > extent.bytes:
            raise SourceError(
                f"{archive} ends before {name} does; put the planned archive back, or plan again"
            )
        packed = Slice(stream, extent.offset + begin, member.packed_bytes)
        yield from unpacked(packed, member, archive)


def _download(remote: RemoteFile, track: Track, target: IO[bytes]) -> int:
    """Write a member's header and data to a file; return how many bytes that took."""
    left = remote.size - track.offset
    size = min(left, HEADER.size + len(track.member.encode()) + SLACK + track.packed_bytes)
    for block in remote.stream(track.offset, size):
        target.write(block)
    target.seek(0)
    needed = min(left, data_begins(target.read(HEADER.size)) + track.packed_bytes)
    target.seek(size)
    if needed > size:
        for block in remote.stream(track.offset + size, needed - size):
            target.write(block)
    target.flush()
    return max(size, needed)


def _discard(file: "tempfile._TemporaryFileWrapper[bytes]") -> None:
    """Close a file and delete it, even where closing fails because the disk is full."""
    with contextlib.suppress(OSError), file:
        pass
    Path(file.name).unlink(missing_ok=True)


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise SourceError(
            f"{printable(path)} was planned but cannot be found ({error.strerror}); put it back, "
            "or plan again"
        ) from error

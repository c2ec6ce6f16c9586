"""Members of a zip archive, read in place: directory, decompression, checksums, nothing trusted.

The Free Music Archive's members are bzip2-compressed, which most unzip programs refuse; the
standard library reads them, and zip64 too.
"""

import contextlib
import hashlib
import lzma
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, Self

from storage.errors import DataError, IntegrityError
from storage.files import BLOCK, arriving

MAXIMUM_MEMBER = 2 << 30
"""Bytes of a member that may be read into memory: seven hours of MP3 at 320 kbit/s are half."""
ENCRYPTED = 0x1
DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)

Progress = Callable[[int], None]


class Member(NamedTuple):
    """One file of an archive, as its directory promises it."""

    name: str
    bytes: int
    """Uncompressed."""
    crc: int


def check_archive(
    path: Path,
    sha1: str | None = None,
    md5: str | None = None,
    progress: Progress | None = None,
) -> str:
    """Read an archive once and return its sha1; `progress` is called with each block's bytes.

    Raises:
        DataError: there is no such file.
        IntegrityError: a published checksum is not the file's.
    """
    _require_file(path)
    digests = {"sha1": hashlib.sha1(), "md5": hashlib.md5()}
    if md5 is None:
        del digests["md5"]
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            for digest in digests.values():
                digest.update(block)
            if progress:
                progress(len(block))
    for kind, expected in (("sha1", sha1), ("md5", md5)):
        if expected is not None and digests[kind].hexdigest() != expected.lower():
            raise IntegrityError(
                f"{path} has {kind} {digests[kind].hexdigest()}, but {expected.lower()} is "
                "published; the download is damaged or another release: fetch it again"
            )
    return digests["sha1"].hexdigest()


class ArchiveReader:
    """A local zip, open for reading. Processes do not share one: each opens its own.

    Raises:
        DataError: there is no such file.
        IntegrityError: the file is no zip, or lists a member that no honest archive has.
    """

    def __init__(self, path: Path) -> None:
        _require_file(path)
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except DAMAGE as error:
            raise IntegrityError(
                f"{path} is no whole zip archive ({error}); fetch it again"
            ) from error
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}); check its disk") from error
        self._infos = {info.filename: info for info in self._zip.infolist() if not info.is_dir()}
        files = sum(not info.is_dir() for info in self._zip.infolist())
        if len(self._infos) != files:
            self.close()
            raise IntegrityError(f"{path} lists a member twice; fetch it from its publisher")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def members(self) -> list[Member]:
        """Return all files of the archive in its order.

        Raises:
            IntegrityError: a name would leave the folder it is unpacked in, or is a link.
        """
        for info in self._infos.values():
            _require_safe(self.path, info)
        return [_member(info) for info in self._infos.values()]

    def member(self, name: str) -> Member:
        """Return what the directory promises of one file; `IntegrityError` if it has none."""
        return _member(self._info(name))

    def read(self, name: str) -> bytes:
        """Return a member's bytes, its size and CRC checked.

        Raises:
            IntegrityError: there is no such member, it is damaged, or absurdly large.
        """
        info = self._info(name)
        if info.file_size > MAXIMUM_MEMBER:
            raise IntegrityError(
                f"{name} in {self.path} claims {info.file_size} bytes, more than any song has "
                f"({MAXIMUM_MEMBER}); fetch the archive from its publisher"
            )
        with self.open(name) as stream:
            data = stream.read(info.file_size + 1)
        if len(data) != info.file_size:
            raise IntegrityError(
                f"{name} in {self.path} has {len(data)} bytes, not the promised {info.file_size}; "
                "fetch the archive again"
            )
        return data

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Yield a member as a stream; damage met while it is read is an `IntegrityError`.

        The CRC is checked when the last byte is read.
        """
        info = self._info(name)
        try:
            with self._zip.open(info) as stream:
                yield stream
        except DAMAGE as error:
            raise self._damaged(name, error) from error
        except OSError as error:
            # bz2 reports damage as an OSError without a number; a failing disk has one.
            if error.errno is not None:
                raise
            raise self._damaged(name, error) from error

    def extract(self, name: str, destination: Path, progress: Progress | None = None) -> None:
        """Write a member to a file that appears only when whole, its size and CRC checked.

        Raises:
            IntegrityError: there is no such member, or it is damaged.
            MachineError: the disk is full or forbidden.
        """
        size = self._info(name).file_size
        written = 0
        with arriving(destination) as temporary, temporary.open("wb") as target:
            with self.open(name) as stream:
                while block := stream.read(BLOCK):
                    target.write(block)
                    written += len(block)
                    if progress:
                        progress(len(block))
            if written != size:
                raise IntegrityError(
                    f"{name} in {self.path} has {written} bytes, not the promised {size}; "
                    "fetch the archive again"
                )

    def _info(self, name: str) -> zipfile.ZipInfo:
        info = self._infos.get(name)
        if info is None:
            raise IntegrityError(
                f"{self.path} has no member {name}; it is not the archive that was planned: put "
                "that one back, or plan again"
            )
        _require_safe(self.path, info)
        return info

    def _damaged(self, name: str, error: Exception) -> IntegrityError:
        return IntegrityError(f"{name} in {self.path} is damaged ({error}); fetch it again")


def _member(info: zipfile.ZipInfo) -> Member:
    return Member(info.filename, info.file_size, info.CRC)


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise DataError(
            f"archive {path} is missing; put it there, or name its folder with --set data.root=DIR"
        )


def _require_safe(path: Path, info: zipfile.ZipInfo) -> None:
    name = PurePosixPath(info.filename)
    outside = name.is_absolute() or ".." in name.parts or "\\" in info.filename
    if outside or not info.filename.isprintable() or info.filename[1:2] == ":":
        raise IntegrityError(
            f"{path} holds a member named {info.filename!r}, which leads out of its folder; "
            "fetch the archive from its publisher"
        )
    if stat.S_ISLNK(info.external_attr >> 16):
        raise IntegrityError(
            f"{info.filename} in {path} is a symbolic link, which no recording is; fetch the "
            "archive from its publisher"
        )
    if info.flag_bits & ENCRYPTED:
        raise IntegrityError(f"{info.filename} in {path} is encrypted; unlock the archive first")

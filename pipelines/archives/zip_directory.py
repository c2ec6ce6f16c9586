"""A zip's list of its members: each entry checked before anything is read or written by it."""

import io
import itertools
import stat
import struct
import zipfile

from pipelines.archives.byte_ranges import RangeStream
from pipelines.archives.zip_members import ENCRYPTED, HEADER, METHODS, Member
from storage.errors import DataError, IntegrityError


def read_directory(
    stream: io.BufferedReader | RangeStream, path: str, size: int
) -> dict[str, Member]:
    """Read an archive's list of files, each entry checked.

    Raises:
        IntegrityError: the file is no zip, or lists a member that no correct archive has.
        DataError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, struct.error) as error:
        raise IntegrityError(f"{path} is no whole zip archive ({error}); fetch it again") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check its disk") from error
    for info in infos:
        _require_safe(path, info)
    members = {info.filename: _member(info) for info in infos}
    if len(members) != len(infos):
        raise IntegrityError(f"{path} lists a member twice; fetch it from its publisher")
    _require_apart(path, members, size)
    return members


def _member(info: zipfile.ZipInfo) -> Member:
    return Member(
        info.filename,
        info.file_size,
        info.CRC,
        info.header_offset,
        info.compress_size,
        info.compress_type,
    )


def _require_safe(path: str, info: zipfile.ZipInfo) -> None:
    name = info.filename
    outside = not name or name.startswith("/") or ".." in name.split("/") or "\\" in name
    # Some readers take the name up to a zero byte: `orig_filename` is all of it.
    if outside or not info.orig_filename.isprintable() or name[1:2] == ":":
        raise IntegrityError(
            f"{path} holds a member named {info.orig_filename!r}, which leads out of its folder; "
            "fetch the archive from its publisher"
        )
    if stat.S_ISLNK(info.external_attr >> 16):
        raise IntegrityError(
            f"{info.filename} in {path} is a symbolic link, which no recording is; fetch the "
            "archive from its publisher"
        )
    if info.flag_bits & ENCRYPTED:
        raise IntegrityError(f"{info.filename} in {path} is encrypted; unlock the archive first")
    if info.compress_type not in METHODS:
        raise IntegrityError(
            f"{info.filename} in {path} is stored by method {info.compress_type}, not as it is, "
            "deflated or by bzip2; pack the archive again"
        )


def _require_apart(path: str, members: dict[str, Member], size: int) -> None:
    """Refuse members that share bytes, as a small archive of enormous content has them."""
    extents = sorted((member.offset, member.packed_bytes, name) for name, member in members.items())
    for (begin, packed, name), (following, *_) in itertools.pairwise([*extents, (size, 0, "")]):
        if begin < 0 or begin + HEADER.size + packed > following:
            raise IntegrityError(
                f"{name} in {path} reaches into what follows it; fetch the archive from its "
                "publisher"
            )

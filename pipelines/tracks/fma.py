"""The Free Music Archive: its listing, its own checksums and its table of tracks -> `Track`s."""

import csv
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pydantic import ValidationError

from pipelines.archives.litter import in_litter
from pipelines.archives.sources import Source
from pipelines.archives.zip_archive import ArchiveReader
from pipelines.archives.zip_members import Member
from pipelines.tracks.duplicates import mark_duplicates
from pipelines.tracks.folder import SUFFIXES, path_key
from storage.errors import DataError, ManifestError
from storage.records import Track
from storage.retry_policy import DEFAULT_RETRIES, RetryPolicy

SONG = re.compile(r"(?:.*/)?(\d{3}/(\d{6})\.mp3)")
NUMBER = re.compile(r"0*(\d{1,6})\..+")
"""A name from which the metadata may still tell what the file is."""
OTHERWISE_NAMED = "x"
"""Begins the id of audio that is not named as a track, and sorts it behind those that are."""
CHECKSUM = re.compile(r"([0-9a-f]{40})\s+\*?(\S+)")
HEADER_ROWS = 3
"""Of tracks.csv: a group, a name in it, and `track_id`."""
COLUMNS = {
    "artist": ("artist", "name"),
    "split": ("set", "split"),
    "genre": ("track", "genre_top"),
    "licence": ("track", "license"),
    "title": ("track", "title"),
}
LONGEST_FIELD = 1 << 26
"""Bytes. Biographies in the table pass the csv module's own limit of 128 KiB."""


class _Row(NamedTuple):
    id: str
    values: dict[str, str]


def read_tracks(
    archive: Path | Source, metadata: Path | Source, retries: RetryPolicy = DEFAULT_RETRIES
) -> list[Track]:
    """Return the tracks of an archive in the order of their ids; no audio is read.

    Of an archive on a server only the directory and the checksums come. A track that the metadata
    does not list keeps the defaults of `Track`; one whose bytes are an earlier one's names it.

    Audio that is not named as the publisher names it (`000/000002.MP3`, `3.flac`, in a folder more)
    is a track, too. Its id is made of its path, so that it changes no other's; what the metadata
    say of its number, its split above all, is true of it.

    Raises:
        SourceError: a server does not deliver, or holds another archive than the source's.
        DataError: a file is missing, or the archive holds no track.
        IntegrityError: an archive is damaged.
        ManifestError: `tracks.csv` or `checksums` is not what the publisher writes.
    """
    with ArchiveReader(archive, retries) as reader:
        songs = _songs(reader)
        sha1 = _checksums(reader)
    with ArchiveReader(metadata, retries) as reader:
        wanted, name = {_number(*each) for each in songs.items()}, reader.path
        described = reader.twice(lambda: _describe(reader, wanted))
    tracks = []
    for song, member in sorted(songs.items()):
        location = member._asdict()
        facts = described.get(_number(song, member), {})
        values: dict[str, Any] = dict(facts, sha1=_listed_sha1(member.name, sha1))
        try:
            track = Track(id=song, member=location.pop("name"), **location, **values)
        except ValidationError as error:
            raise ManifestError(
                f"{name}, track {song}: {error.errors()[0]['msg']}, not "
                f"{error.errors()[0]['input']!r}; use the metadata of the archive's own release"
            ) from error
        tracks.append(track)
    return mark_duplicates(tracks)


def _songs(reader: ArchiveReader) -> dict[str, Member]:
    """Return all audio by the ids of its tracks."""
    songs: dict[str, Member] = {}
    others: dict[str, Member] = {}
    for member in reader.members():
        match = SONG.fullmatch(member.name)
        if match is None:
            if PurePosixPath(member.name).suffix.lower() in SUFFIXES and not in_litter(member.name):
                others[OTHERWISE_NAMED + path_key(member.name)] = member
            continue
        if match[2] in songs:
            raise DataError(
                f"{reader.path} holds track {match[2]} twice: {songs[match[2]].name} and "
                f"{member.name}; use the publisher's archive"
            )
        songs[match[2]] = member
    if not songs:
        raise DataError(
            f"{reader.path} holds no track named as 000/000002.mp3; is it an archive of the FMA?"
        )
    return songs | others


def _number(song: str, member: Member) -> str:
    """Return under which number the metadata describe a track; empty if its name has none."""
    if not song.startswith(OTHERWISE_NAMED):
        return song
    match = NUMBER.fullmatch(PurePosixPath(member.name).name)
    return match[1].zfill(6) if match else ""


def _listed_sha1(name: str, sums: dict[str, str]) -> str | None:
    """Return the sum of a member, whose path is listed without the folders around it."""
    parts = name.split("/")
    paths = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((sums[path] for path in paths if path in sums), None)


def _checksums(reader: ArchiveReader) -> dict[str, str]:
    """Return sha1 by `000/000002.mp3`; an archive need not list them."""
    names = [m.name for m in reader.members() if m.name.rpartition("/")[2] == "checksums"]
    sums: dict[str, str] = {}
    for name in names:
        for number, line in enumerate(reader.read(name).decode("utf-8", "replace").splitlines(), 1):
            match = CHECKSUM.fullmatch(line.strip())
            if match is None:
                raise ManifestError(
                    f"{name} line {number} in {reader.path} is no sha1 and path: {line[:80]!r}; "
                    "fetch the archive again"
                )
            sums[match[2]] = match[1]
    return sums


def _describe(reader: ArchiveReader, wanted: set[str]) -> dict[str, dict[str, str]]:
    names = [m.name for m in reader.members() if m.name.rpartition("/")[2] == "tracks.csv"]
    if len(names) != 1:
        raise DataError(
            f"{reader.path} holds {len(names)} files named tracks.csv, not one; use the "
            "archive's own fma_metadata.zip"
        )
    with reader.open(names[0]) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        try:
            return {row.id: row.values for row in _rows(text, reader.path) if row.id in wanted}
        except (UnicodeDecodeError, csv.Error) as error:
            raise ManifestError(
                f"tracks.csv in {reader.path} is no readable table ({error}); fetch it again"
            ) from error


def _rows(text: io.TextIOWrapper, metadata: str) -> Iterator[_Row]:
    csv.field_size_limit(min(LONGEST_FIELD, sys.maxsize))
    table = csv.reader(_lines(text, metadata))
    header = [next(table, []) for _ in range(HEADER_ROWS)]
    columns = _columns(header, metadata)
    for cells in table:
        if not cells or not cells[0].isdecimal() or len(cells) <= max(columns.values()):
            raise ManifestError(
                f"tracks.csv line {table.line_num} in {metadata} has {len(cells)} columns and "
                f"starts with {''.join(cells[:1])[:40]!r}, not with a track number; fetch it again"
            )
        # An empty cell is an absent value: the record's default stands.
        values = {name: cells[column] for name, column in columns.items() if cells[column]}
        yield _Row(f"{int(cells[0]):06d}", values)


def _lines(text: io.TextIOWrapper, metadata: str) -> Iterator[str]:
    """Yield lines of bounded length: a table of few packed bytes may be one line without end."""
    while line := text.readline(LONGEST_FIELD):
        if len(line) == LONGEST_FIELD:
            raise ManifestError(
                f"tracks.csv in {metadata} has a line of {LONGEST_FIELD} characters or more; fetch "
                "it again"
            )
        yield line


def _columns(header: list[list[str]], metadata: str) -> dict[str, int]:
    columns = list(zip(header[0], header[1], strict=False))
    lacking = [".".join(column) for column in COLUMNS.values() if column not in columns]
    if lacking:
        raise ManifestError(
            f"tracks.csv in {metadata} lacks the columns {', '.join(lacking)}; its first two rows "
            "must name groups and columns, as the publisher's do"
        )
    return {name: columns.index(column) for name, column in COLUMNS.items()}

"""What MoisesDB's files are: its songs, what `data.json` says of each, and where recordings lie.

No path is ever made from what `data.json` says: what it lists is looked up among the files that are
there, each directly in a stem's folder of its song.
"""

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated, NamedTuple

from pydantic import BaseModel, Field, ValidationError

from pipelines.archives.litter import in_litter
from pipelines.archives.zip_archive import ArchiveReader
from pipelines.config import MOISESDB_STEMS, MoisesDbStem
from pipelines.stems.stem_ledger import Finding
from storage.errors import DataError, IntegrityError
from storage.names.file_names import is_file_name

METADATA = "data.json"
MAXIMUM_METADATA = 1 << 20
"""Bytes of a data.json; a real one has a few thousand."""
NAME = r"[\w-]+"
Name = Annotated[str, Field(pattern=f"^{NAME}$")]


class Entry(NamedTuple):
    """One song's folder in the corpus."""

    id: str
    root: str
    """The folder, inside the zip or the corpus' folder."""
    files: dict[str, int]
    """Bytes by name, as in `vocals/5d1f.wav`."""


class Listed(NamedTuple):
    """One song as its `data.json` lists it, and what of it is there."""

    id: str
    artist: str
    title: str
    stems: int
    """Of the eleven, how many have at least one recording that is there."""
    recordings: dict[str, tuple[str, ...]]
    """Names of recordings by stem; a stem that the song lacks has none."""
    others: tuple[str, ...]
    """Names of recordings that are in no stem."""
    absent: int
    """Listed recordings that are not there."""


class _Recording(BaseModel):
    id: Name
    extension: Name = "wav"


class _Stem(BaseModel):
    name: MoisesDbStem = Field(alias="stemName")
    tracks: tuple[_Recording, ...]


class _Song(BaseModel):
    artist: str
    song: str
    stems: tuple[_Stem, ...]


class Library:
    """MoisesDB on this machine: `moisesdb.zip`, `moisesdb_v0.1`, or the folder that holds it."""

    def __init__(self, source: Path) -> None:
        self.source = source

    def entries(self) -> list[Entry]:
        """Return all songs in the order of their ids.

        Raises:
            DataError: there is no such file or folder, it holds no song, or one twice.
            IntegrityError: the zip is damaged, or holds unsafe names.
        """
        sizes = dict(self._sizes())
        songs: dict[str, Entry] = {}
        for name in sorted(sizes):
            path = PurePosixPath(name)
            song = path.parent.name
            if path.name != METADATA or not song or in_litter(name):
                continue
            if song in songs:
                raise DataError(
                    f"{self.source} holds song {song} twice, in {songs[song].root} and "
                    f"{path.parent}; keep one of the two"
                )
            songs[song] = Entry(song, str(path.parent), {METADATA: sizes[name]})
        if not songs:
            raise DataError(
                f"{self.source} holds no song with a {METADATA}; is it moisesdb.zip, or the folder "
                "moisesdb_v0.1 unpacked from it?"
            )
        by_root = {entry.root: entry for entry in songs.values()}
        for name, size in sizes.items():
            path = PurePosixPath(name)
            if entry := by_root.get(str(path.parent.parent)):
                entry.files[f"{path.parent.name}/{path.name}"] = size
        return [songs[song] for song in sorted(songs)]

    def describe(self, entry: Entry, recordings: Mapping[str, Sequence[str]]) -> Listed | Finding:
        """Return a song's files by stem, given each stem's recordings; or why it has none."""
        if not (re.fullmatch(NAME, entry.id) and is_file_name(entry.id)):
            detail = f"its folder's name {entry.id!a} is no id; use that of the corpus"
            return Finding(reason="unsafe_name", detail=detail)
        try:
            song = _Song.model_validate_json(self._metadata(entry))
        except ValidationError as error:
            first = error.errors()[0]
            location = ".".join(map(str, first["loc"]))
            detail = f"{METADATA} says nothing useful at '{location}' ({first['msg']})"
            return Finding(reason="metadata", detail=detail)
        except (IntegrityError, OSError) as error:
            detail = str(error).replace(str(self.source), self.source.name)
            return Finding(reason="metadata", detail=f"{METADATA} cannot be read ({detail})")
        return _listed(entry, song, recordings)

    @contextmanager
    def recordings(self, root: str, names: Iterable[str], scratch: Path) -> Iterator[Path]:
        """Yield a folder with a song's recordings; a zip's are unpacked to `scratch`, for now.

        Raises:
            IntegrityError: a member is damaged.
            MachineError: the disk is full.
        """
        if self.source.is_dir():
            yield self.source / root
            return
        try:
            with ArchiveReader(self.source) as reader:
                for name in names:
                    reader.extract(f"{root}/{name}", scratch / name)
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _metadata(self, entry: Entry) -> bytes:
        if entry.files[METADATA] > MAXIMUM_METADATA:
            raise IntegrityError(f"{entry.files[METADATA]} bytes are more than one has")
        if self.source.is_dir():
            return (self.source / entry.root / METADATA).read_bytes()
        with ArchiveReader(self.source) as reader:
            return reader.read(f"{entry.root}/{METADATA}")

    def _sizes(self) -> Iterator[tuple[str, int]]:
        """Yield each file that may matter: a song's, at most two folders deep."""
        if self.source.is_dir():
            for pattern in ("*/*", "*/*/*", "*/*/*/*"):
                for path in self.source.glob(pattern):
                    if path.is_file():
                        yield path.relative_to(self.source).as_posix(), path.stat().st_size
            return
        with ArchiveReader(self.source) as reader:
            for member in reader.members():
                yield member.name, member.bytes


def _listed(entry: Entry, song: _Song, recordings: Mapping[str, Sequence[str]]) -> Listed:
    stem_of = {name: stem for stem, names in recordings.items() for name in names}
    # In the corpus's own order, which the ledger's remarks follow.
    stems = dict.fromkeys(stem_of[name] for name in MOISESDB_STEMS if name in stem_of)
    files: dict[str, list[str]] = {stem: [] for stem in stems}
    others: list[str] = []
    present, absent = set(), 0
    for stem in song.stems:
        names = [f"{stem.name}/{track.id}.{track.extension}" for track in stem.tracks]
        found = [name for name in names if name in entry.files]
        absent += len(names) - len(found)
        if found:
            present.add(stem.name)
        (files[stem_of[stem.name]] if stem.name in stem_of else others).extend(found)
    return Listed(
        entry.id,
        song.artist,
        song.song,
        len(present),
        # A stem, or a recording of it, may be listed twice.
        {stem: tuple(sorted(set(names))) for stem, names in files.items()},
        tuple(sorted(set(others))),
        absent,
    )

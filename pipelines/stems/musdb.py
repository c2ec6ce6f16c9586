"""A zip in MUSDB18-HQ's layout -> stems on disk and a row for each song."""

import logging
import re
import shutil
import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from pipelines.archives.litter import in_litter
from pipelines.archives.zip_archive import ArchiveReader, Progress
from pipelines.archives.zip_members import Member
from pipelines.config import CHANNELS, MIXTURE, SAMPLE_RATE, MusdbConfig
from pipelines.stems.splits import Split, require_validation
from pipelines.stems.stem_mixing import write_sum
from storage.audio.waveforms import AudioInfo, probe
from storage.errors import DataError
from storage.files import BLOCK, remove_arriving, require_space
from storage.home.layout import Corpus, Home
from storage.manifests import write_rows
from storage.names.file_names import file_names
from storage.names.spelling import composed
from storage.records import StemSong

SUBTYPE = "PCM_16"
PARTS: tuple[Literal["train", "test"], ...] = ("test", "train")
RECORDING = re.compile(
    r"(?:(?P<top>.+)/)?(?P<part>train|test)/(?P<title>[^/]+)/(?P<name>[^/]+)\.wav"
)
"""A folder may be around both, as archivers put it there."""
REMEDY = (
    "name some of its training songs in musdb.validation, or set musdb.validation=[] to use the "
    "songs for the test alone"
)
GROWTH = 2
"""Size of a float recording, in that of the same at 16 bits."""

log = logging.getLogger(__name__)

Recordings = Mapping[str, tuple[str, ...]]
"""The recordings whose sum is each stem."""


class _Song(NamedTuple):
    """One song of the archive, and where it is unpacked to."""

    part: Literal["train", "test"]
    """Of the archive."""
    title: str
    folder: Path
    members: dict[str, Member]
    """By the names of their recordings."""


def unpack(
    archive: Path,
    home: Home,
    corpus: Corpus,
    config: MusdbConfig,
    progress: Progress | None = None,
) -> list[StemSong]:
    """Unpack the songs, check each recording, write `songs.jsonl` and return its rows.

    Recordings that are on the disk, whole, are left as they are; sums are written again.
    `progress` is called with bytes as they are done.

    Raises:
        DataError: the layout, or the form or length of a recording, is not MUSDB18-HQ's; or no
            song is left to validate.
        IntegrityError: the archive is damaged, or holds unsafe names.
        MachineError: the disk has no room for it.
    """
    recordings = config.recordings()
    with ArchiveReader(archive) as reader:
        layout = _layout(reader, recordings, corpus)
        _require_validation(archive, layout, config)
        _extract(reader, corpus, layout, recordings, progress)
        add_up = partial(_write_sums, reader, corpus, recordings, progress)
        songs = [
            StemSong(
                name=song.title,
                split=_split(song, config),
                folder=home.relative(song.folder),
                frames=add_up(song),
                sample_rate=SAMPLE_RATE,
                stems=config.stems,
            )
            for song in layout
        ]
    if missing := missing_validation(songs, config):
        numbers = (len(missing), len(config.validation), "; ".join(missing))
        log.warning("%s lacks %d of %d validation titles: %s", archive.name, *numbers)
    write_rows(corpus.songs, songs)
    return songs


def _require_validation(archive: Path, layout: Sequence[_Song], config: MusdbConfig) -> None:
    if config.validation:
        require_validation(archive, [_split(song, config) for song in layout], REMEDY)


def missing_validation(songs: list[StemSong], config: MusdbConfig) -> list[str]:
    """Return the validation titles that no song has, in the list's order."""
    titles = {composed(song.name) for song in songs if song.split == "validation"}
    return [title for title in config.validation if composed(title) not in titles]


def _extract(
    reader: ArchiveReader,
    corpus: Corpus,
    layout: Sequence[_Song],
    recordings: Recordings,
    progress: Progress | None,
) -> None:
    """Write mixtures and recorded stems that are not there yet."""
    remove_arriving(corpus.root, "*/*/*")
    summed = _summed(recordings)
    places = [
        (member, song.folder / f"{name}.wav")
        for song in layout
        for name, member in song.members.items()
        if name not in summed
    ]
    lacking = [(member, path) for member, path in places if not _is_there(path, member)]
    needed = sum(member.bytes for member, _ in lacking)
    require_space(corpus.root, needed + _sum_bytes(layout, recordings), f"unpacking {reader.path}")
    if progress:
        progress(sum(member.bytes for member, _ in places) - needed)
    for member, path in lacking:
        reader.extract(member.name, path, progress)


def _summed(recordings: Recordings) -> set[str]:
    """Return the recordings that are only part of a stem: they do not stay on the disk."""
    return {name for stem, names in recordings.items() if names != (stem,) for name in names}


def _sum_bytes(layout: Sequence[_Song], recordings: Recordings) -> int:
    """Return the size of all sums, and of the recordings of the song that is being added up."""
    sums = [names for stem, names in recordings.items() if names != (stem,)]
    written = sum(
        GROWTH * max(song.members[name].bytes for name in names)
        for song in layout
        for names in sums
    )
    scratch = [sum(song.members[n].bytes for names in sums for n in names) for song in layout]
    return written + max(scratch, default=0)


def _layout(reader: ArchiveReader, recordings: Recordings, corpus: Corpus) -> list[_Song]:
    """Return the songs in the order of their names, those of `test` first."""
    wanted = [MIXTURE, *sorted(name for names in recordings.values() for name in names)]
    found, members = _recorded(reader)
    require_recorded(reader.path, wanted[1:], found)
    layout = []
    for part in PARTS:
        titles = sorted(title for its, title in members if its == part)
        folders = file_names(titles)
        for title in titles:
            own = {name: it for name, it in members[part, title].items() if name in wanted}
            if lacking := [name for name in wanted if own and name not in own]:
                raise DataError(
                    f"song '{title}' in {part} of {reader.path} lacks "
                    f"{', '.join(f'{name}.wav' for name in lacking)}; fetch the archive again"
                )
            if own:
                layout.append(_Song(part, title, corpus.root / part / folders[title], own))
    return layout


def _recorded(reader: ArchiveReader) -> tuple[set[str], dict[tuple[str, str], dict[str, Member]]]:
    """Return the names of all recordings; and, by part and title, each song's members by them."""
    matches = [
        (match, member)
        for member in reader.members()
        if (match := RECORDING.fullmatch(member.name)) and not in_litter(member.name)
    ]
    tops = {match["top"] for match, _ in matches}
    # Without a folder around it the corpus is what is published.
    top = None if None in tops else min(tops, default=None)
    if top is not None and len(tops) > 1:
        raise DataError(
            f"{reader.path} holds songs in {top} and in {max(tops)}; make an archive of one of them"
        )
    members: dict[tuple[str, str], dict[str, Member]] = {}
    for match, member in matches:
        if match["top"] == top:
            members.setdefault((match["part"], match["title"]), {})[match["name"]] = member
    if not members:
        raise DataError(
            f"{reader.path} holds no recording named as train/<song>/mixture.wav; is it "
            "musdb18hq.zip? (musdb18.zip, with its .stem.mp4 files, is another release)"
        )
    return {name for own in members.values() for name in own}, members


def require_recorded(where: str, wanted: Iterable[str], found: Iterable[str]) -> None:
    """Raise `DataError` that names the recordings which no song of a corpus has."""
    known = sorted(set(found) - {MIXTURE})
    if unknown := sorted(set(wanted) - set(known)):
        raise DataError(
            f"no song in {where} has a recording of {', '.join(unknown)}; there are recordings of "
            f"{', '.join(known) or 'nothing'}: name these in musdb.stems, or make a stem their sum "
            "in musdb.mix"
        )


def _split(song: _Song, config: MusdbConfig) -> Split:
    if song.part == "test":
        return "test"
    named = {composed(title) for title in config.validation}
    return "validation" if composed(song.title) in named else "train"


def _write_sums(
    reader: ArchiveReader,
    corpus: Corpus,
    recordings: Recordings,
    progress: Progress | None,
    song: _Song,
) -> int:
    """Check a song's recordings, write the stems that are sums, and return its frames."""
    scratch, summed = corpus.root / "scratch", _summed(recordings)
    paths = {
        name: (scratch if name in summed else song.folder) / f"{name}.wav"
        for name in (MIXTURE, *sorted(song.members.keys() - {MIXTURE}))
    }
    try:
        for name in sorted(summed):
            reader.extract(song.members[name].name, paths[name], progress)
        frames = _checked_frames(song.title, paths)
        for stem, names in recordings.items():
            if names != (stem,):
                write_sum([paths[name] for name in names], song.folder / f"{stem}.wav")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return frames


def _checked_frames(title: str, paths: Mapping[str, Path]) -> int:
    """Return the length of a song's recordings; raise `DataError` where one is not as expected."""
    infos = {part: probe(path) for part, path in paths.items()}
    for part, info in infos.items():
        _require_format(title, part, info)
    lengths = {part: info.frames for part, info in infos.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{part} {frames}" for part, frames in lengths.items())
        raise DataError(
            f"the recordings of '{title}' differ in length (frames: {listed}); fetch the "
            "archive again"
        )
    return lengths[MIXTURE]


def _require_format(title: str, part: str, info: AudioInfo) -> None:
    found = (info.sample_rate, info.channels, info.subtype)
    if found != (SAMPLE_RATE, CHANNELS, SUBTYPE):
        raise DataError(
            f"{part}.wav of '{title}' is {info.sample_rate} Hz, {info.channels} channels, "
            f"{info.subtype}, not {SAMPLE_RATE} Hz, {CHANNELS} channels, {SUBTYPE}; use "
            "MUSDB18-HQ as published"
        )
    if info.frames == 0:
        raise DataError(f"{part}.wav of '{title}' is empty; fetch the archive again")


def _is_there(path: Path, member: Member) -> bool:
    if not path.is_file() or path.stat().st_size != member.bytes:
        return False
    crc = 0
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            crc = zlib.crc32(block, crc)
    return crc == member.crc

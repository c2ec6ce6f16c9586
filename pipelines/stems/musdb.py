"""A zip in MUSDB18-HQ's layout -> stems on disk and a row for each song."""

import logging
import re
import shutil
import zlib
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from pipelines.archives.zip_archive import ArchiveReader, Progress
from pipelines.archives.zip_members import Member
from pipelines.config import CHANNELS, MIXTURE, SAMPLE_RATE, MusdbConfig
from pipelines.stems.stem_mixing import write_sum
from storage.audio.waveforms import AudioInfo, probe
from storage.errors import DataError
from storage.files import BLOCK, remove_arriving, require_space
from storage.home.layout import Corpus, Home
from storage.manifests import write_rows
from storage.records import StemSong

SUBTYPE = "PCM_16"
RECORDING = re.compile(r"(train|test)/([^/]+)/([^/]+)\.wav")
GROWTH = 2
"""Size of a float recording, in that of the same at 16 bits."""

log = logging.getLogger(__name__)

Layout = dict[tuple[str, str], dict[str, Member]]
"""Members by recording, by (folder, title)."""
Recordings = Mapping[str, tuple[str, ...]]
"""The recordings whose sum is each stem."""


def unpack(
    archive: Path,
    home: Home,
    corpus: Corpus,
    config: MusdbConfig,
    progress: Progress | None = None,
) -> list[StemSong]:
    """Unpack the songs, check each recording, write `songs.jsonl` and return its rows.

    Recordings that are on the disk already, whole, are left as they are; sums are written again.
    `progress` is called with bytes as they are done.

    Raises:
        DataError: the layout is not MUSDB18-HQ's, a recording is missing, one is not 44.1 kHz
            16-bit stereo, or a song's recordings differ in length.
        IntegrityError: the archive is damaged, or holds unsafe names.
        MachineError: the disk has no room for it.
    """
    recordings = config.recordings()
    with ArchiveReader(archive) as reader:
        layout = _layout(reader, recordings)
        _extract(reader, corpus, layout, recordings, progress)
        add_up = partial(_write_sums, reader, corpus, recordings, progress)
        lengths = {key: add_up(members) for key, members in layout.items()}
    songs = [
        StemSong(
            name=title,
            split=_split(folder, title, config),
            folder=home.relative(corpus.root / folder / title),
            frames=lengths[folder, title],
            sample_rate=SAMPLE_RATE,
            stems=config.stems,
        )
        for folder, title in sorted(layout)
    ]
    if missing := missing_validation(songs, config):
        numbers = (len(missing), len(config.validation), "; ".join(missing))
        log.warning("%s lacks %d of %d validation titles: %s", archive.name, *numbers)
    write_rows(corpus.songs, songs)
    return songs


def missing_validation(songs: list[StemSong], config: MusdbConfig) -> list[str]:
    """Return the validation titles that no song has, in the list's order."""
    titles = {song.name for song in songs if song.split == "validation"}
    return [title for title in config.validation if title not in titles]


def _extract(
    reader: ArchiveReader,
    corpus: Corpus,
    layout: Layout,
    recordings: Recordings,
    progress: Progress | None,
) -> None:
    """Write mixtures and recorded stems that are not there yet under the archive's own names."""
    remove_arriving(corpus.root, "*/*/*")
    summed = _summed(recordings)
    members = [m for each in layout.values() for name, m in each.items() if name not in summed]
    lacking = [member for member in members if not _is_there(corpus, member)]
    needed = sum(member.bytes for member in lacking)
    require_space(corpus.root, needed + _sum_bytes(layout, recordings), f"unpacking {reader.path}")
    if progress:
        progress(sum(member.bytes for member in members) - needed)
    for member in lacking:
        reader.extract(member.name, corpus.root / member.name, progress)


def _summed(recordings: Recordings) -> set[str]:
    """Return the recordings that are only part of a stem: they do not stay on the disk."""
    return {name for stem, names in recordings.items() if names != (stem,) for name in names}


def _sum_bytes(layout: Layout, recordings: Recordings) -> int:
    """Return the size of all sums, and of the recordings of the song that is being added up."""
    sums = [names for stem, names in recordings.items() if names != (stem,)]
    written = sum(
        GROWTH * max(members[name].bytes for name in names)
        for members in layout.values()
        for names in sums
    )
    scratch = [
        sum(members[n].bytes for names in sums for n in names) for members in layout.values()
    ]
    return written + max(scratch, default=0)


def _layout(reader: ArchiveReader, recordings: Recordings) -> Layout:
    wanted = [MIXTURE, *sorted(name for names in recordings.values() for name in names)]
    found: set[str] = set()
    layout: Layout = {}
    for member in reader.members():
        if match := RECORDING.fullmatch(member.name):
            folder, title, part = match.groups()
            found.add(part)
            if part in wanted:
                layout.setdefault((folder, title), {})[part] = member
    if not layout:
        raise DataError(
            f"{reader.path} holds no recording named as train/<song>/mixture.wav; is it "
            "musdb18hq.zip? (musdb18.zip, with its .stem.mp4 files, is another release)"
        )
    require_recorded(reader.path, wanted[1:], found)
    for (folder, title), parts in layout.items():
        if lacking := [part for part in wanted if part not in parts]:
            raise DataError(
                f"song '{title}' in {folder} of {reader.path} lacks "
                f"{', '.join(f'{part}.wav' for part in lacking)}; fetch the archive again"
            )
    return layout


def require_recorded(where: str, wanted: Iterable[str], found: Iterable[str]) -> None:
    """Raise `DataError` that names the recordings which no song of a corpus has."""
    known = sorted(set(found) - {MIXTURE})
    if unknown := sorted(set(wanted) - set(known)):
        raise DataError(
            f"no song in {where} has a recording of {', '.join(unknown)}; there are recordings of "
            f"{', '.join(known) or 'nothing'}: name these in musdb.stems, or make a stem their sum "
            "in musdb.mix"
        )


def _split(folder: str, title: str, config: MusdbConfig) -> Literal["train", "validation", "test"]:
    if folder == "test":
        return "test"
    return "validation" if title in config.validation else "train"


def _write_sums(
    reader: ArchiveReader,
    corpus: Corpus,
    recordings: Recordings,
    progress: Progress | None,
    members: Mapping[str, Member],
) -> int:
    """Check a song's recordings, write the stems that are sums, and return its frames."""
    folder, scratch = (corpus.root / members[MIXTURE].name).parent, corpus.root / "scratch"
    summed = _summed(recordings)
    paths = {
        name: (scratch if name in summed else folder) / f"{name}.wav"
        for name in (MIXTURE, *sorted(members.keys() - {MIXTURE}))
    }
    try:
        for name in sorted(summed):
            reader.extract(members[name].name, paths[name], progress)
        frames = _checked_frames(folder.name, paths)
        for stem, names in recordings.items():
            if names != (stem,):
                write_sum([paths[name] for name in names], folder / f"{stem}.wav")
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


def _is_there(corpus: Corpus, member: Member) -> bool:
    path = corpus.root / member.name
    if not path.is_file() or path.stat().st_size != member.bytes:
        return False
    crc = 0
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            crc = zlib.crc32(block, crc)
    return crc == member.crc

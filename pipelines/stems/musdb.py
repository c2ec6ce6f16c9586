"""A MUSDB18-HQ archive -> stems on disk and a row for each song."""

import logging
import re
import zlib
from pathlib import Path
from typing import Literal

from pipelines.archives.zip_archive import ArchiveReader, Progress
from pipelines.archives.zip_members import Member
from pipelines.config import MusdbConfig
from storage.audio.waveforms import AudioInfo, probe
from storage.errors import DataError
from storage.files import BLOCK, require_space
from storage.home.layout import Corpus, Home
from storage.manifests import write_rows
from storage.records import StemSong

STEMS = ("bass", "drums", "other", "vocals")
PARTS = ("mixture", *STEMS)
SAMPLE_RATE = 44_100
CHANNELS = 2
SUBTYPE = "PCM_16"
RECORDING = re.compile(r"(train|test)/([^/]+)/(mixture|bass|drums|other|vocals)\.wav")

log = logging.getLogger(__name__)

Layout = dict[tuple[str, str], dict[str, Member]]
"""Members by part, by (folder, title)."""


def unpack(
    archive: Path,
    home: Home,
    corpus: Corpus,
    config: MusdbConfig,
    progress: Progress | None = None,
) -> list[StemSong]:
    """Unpack the songs, check each recording, write `songs.jsonl` and return its rows.

    Files that are there already, whole, are left as they are; `progress` is called with bytes as
    they are done.

    Raises:
        DataError: the layout is not MUSDB18-HQ's, a stem is missing, a recording is not 44.1 kHz
            16-bit stereo, or a song's recordings differ in length.
        IntegrityError: the archive is damaged, or holds unsafe names.
        MachineError: the disk has no room for it.
    """
    with ArchiveReader(archive) as reader:
        layout = _layout(reader)
        _extract(reader, corpus, [m for parts in layout.values() for m in parts.values()], progress)
    songs = [
        _song(home, corpus.root / folder / title, _split(folder, title, config))
        for folder, title in sorted(layout)
    ]
    if missing := missing_validation(songs, config):
        log.warning(
            "%s lacks %d of %d validation titles: %s",
            archive.name,
            len(missing),
            len(config.validation),
            "; ".join(missing),
        )
    write_rows(corpus.songs, songs)
    return songs


def missing_validation(songs: list[StemSong], config: MusdbConfig) -> list[str]:
    """Return the validation titles that no song bears, in the list's order."""
    titles = {song.name for song in songs if song.split == "validation"}
    return [title for title in config.validation if title not in titles]


def _extract(
    reader: ArchiveReader, corpus: Corpus, members: list[Member], progress: Progress | None
) -> None:
    """Write the members that are not there yet under the archive's own names."""
    # What a killed attempt left half written.
    for remains in corpus.root.glob("*/*/.*.arriving"):
        remains.unlink(missing_ok=True)
    lacking = [member for member in members if not _is_there(corpus, member)]
    needed = sum(member.bytes for member in lacking)
    require_space(corpus.root, needed, f"unpacking {reader.path}")
    if progress:
        progress(sum(member.bytes for member in members) - needed)
    for member in lacking:
        reader.extract(member.name, corpus.root / member.name, progress)


def _layout(reader: ArchiveReader) -> Layout:
    layout: Layout = {}
    for member in reader.members():
        if match := RECORDING.fullmatch(member.name):
            folder, title, part = match.groups()
            layout.setdefault((folder, title), {})[part] = member
    if not layout:
        raise DataError(
            f"{reader.path} holds no recording named as train/<song>/mixture.wav; is it "
            "musdb18hq.zip? (musdb18.zip, with its .stem.mp4 files, is another release)"
        )
    for (folder, title), parts in layout.items():
        if lacking := [part for part in PARTS if part not in parts]:
            raise DataError(
                f"song '{title}' in {folder} of {reader.path} lacks "
                f"{', '.join(f'{part}.wav' for part in lacking)}; fetch the archive again"
            )
    return layout


def _split(folder: str, title: str, config: MusdbConfig) -> Literal["train", "validation", "test"]:
    if folder == "test":
        return "test"
    return "validation" if title in config.validation else "train"


def _song(home: Home, folder: Path, split: Literal["train", "validation", "test"]) -> StemSong:
    infos = {part: probe(folder / f"{part}.wav") for part in PARTS}
    for part, info in infos.items():
        _require_format(folder, part, info)
    lengths = {part: info.frames for part, info in infos.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{part} {frames}" for part, frames in lengths.items())
        raise DataError(
            f"the recordings of '{folder.name}' differ in length (frames: {listed}); fetch the "
            "archive again"
        )
    return StemSong(
        name=folder.name,
        split=split,
        folder=home.relative(folder),
        frames=lengths["mixture"],
        sample_rate=SAMPLE_RATE,
    )


def _require_format(folder: Path, part: str, info: AudioInfo) -> None:
    found = (info.sample_rate, info.channels, info.subtype)
    if found != (SAMPLE_RATE, CHANNELS, SUBTYPE):
        raise DataError(
            f"{part}.wav of '{folder.name}' is {info.sample_rate} Hz, {info.channels} channels, "
            f"{info.subtype}, not {SAMPLE_RATE} Hz, {CHANNELS} channels, {SUBTYPE}; use "
            "MUSDB18-HQ as published"
        )
    if info.frames == 0:
        raise DataError(f"{part}.wav of '{folder.name}' is empty; fetch the archive again")


def _is_there(corpus: Corpus, member: Member) -> bool:
    path = corpus.root / member.name
    if not path.is_file() or path.stat().st_size != member.bytes:
        return False
    crc = 0
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            crc = zlib.crc32(block, crc)
    return crc == member.crc

"""A folder of songs with stems in MUSDB's layout, read in place: checked, split, never copied."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from pipelines.archives.folder_digest import require_folder
from pipelines.config import MusdbConfig
from pipelines.stems.musdb import CHANNELS, PARTS, SAMPLE_RATE, STEMS
from pipelines.stems.splits import Split, split_by_artist
from pipelines.stems.stem_ledger import Finding, close_ledger
from pipelines.stems.wave_files import BLOCK, require_whole
from pipelines.workers.fan_out import fan_out
from storage.audio.waveforms import AudioInfo, probe
from storage.errors import DataError, DecodeError
from storage.home.layout import Corpus
from storage.manifests import write_rows
from storage.records import LedgerRow, StemSong

SPLITS: tuple[Split, ...] = ("test", "validation", "train")
"""Folders of songs. A title that lies in two of them is left out of the later one."""
SUBTYPES = ("PCM_16", "PCM_24", "FLOAT")

Tell = Callable[[int, int], None]
"""Told how many songs are done, and of how many."""


class SongLocation(NamedTuple):
    """One song's folder."""

    split: Split
    """The folder it lies in."""
    path: Path

    @property
    def title(self) -> str:
        """Artist - Title."""
        return self.path.name


def read_songs(
    folder: Path, corpus: Corpus, config: MusdbConfig, tell: Tell | None = None
) -> list[StemSong]:
    """Check every song, write `songs.jsonl` and the ledger, and return the songs' rows.

    A song is a folder `train|validation|test/<title>/` with bass.wav, drums.wav, other.wav and
    vocals.wav, stereo at 44.1 kHz, 16 or 24 bits or float, equally long. In `test/` it has its
    mixture.wav too, which is what gets separated; elsewhere the stems' sum is the mixture. A song
    that is otherwise is quarantined. The rows name the folder where it is, outside the home.

    Raises:
        DataError: it is no folder, holds no song, or too many of its songs are quarantined.
    """
    places = list(_places(folder))
    if not places:
        raise DataError(
            f"{folder} holds no song; put stems at train/<song>/bass.wav, drums.wav, other.wav and "
            "vocals.wav, and test songs with their mixture.wav at test/<song>/"
        )
    found = _examine_all(places, config.workers, tell)
    usable = [place for place, finding in zip(places, found, strict=True) if not finding.reason]
    splits = _splits(usable, config)
    rows = [_row(place, finding, splits) for place, finding in zip(places, found, strict=True)]
    close_ledger(corpus, rows, config.error_budget)
    songs = [
        StemSong(
            name=place.title,
            split=splits[place],
            folder=str(place.path),
            frames=finding.frames,
            sample_rate=SAMPLE_RATE,
        )
        for place, finding in zip(places, found, strict=True)
        if not finding.reason
    ]
    write_rows(corpus.songs, songs)
    return songs


def _examine_all(places: Sequence[SongLocation], workers: int, tell: Tell | None) -> list[Finding]:
    done: list[Finding] = []

    def count(finding: Finding) -> None:
        done.append(finding)
        if tell:
            tell(len(done), len(places))

    return _only_once(places, fan_out(_examine, places, workers, count))


def _places(folder: Path) -> Iterator[SongLocation]:
    require_folder(folder)
    for split in SPLITS:
        parent = folder / split
        if parent.is_dir():
            for path in sorted(parent.iterdir()):
                if path.is_dir() and not path.name.startswith("."):
                    yield SongLocation(split, path)


def _examine(place: SongLocation) -> Finding:
    try:
        if not place.title.isprintable():
            raise DecodeError("its name holds what cannot be printed; rename it", "unsafe_name")
        return Finding(_frames(place))
    except DecodeError as error:
        return Finding(reason=error.reason, detail=str(error))
    except OSError as error:
        return Finding(reason="unreadable", detail=f"it cannot be read ({error.strerror})")


def _frames(place: SongLocation) -> int:
    """Return a song's length; raise `DecodeError` with what is wrong with it."""
    wanted = PARTS if place.split == "test" else STEMS
    if lacking := [part for part in wanted if not (place.path / f"{part}.wav").is_file()]:
        files = ", ".join(f"{part}.wav" for part in lacking)
        reason = "missing_mixture" if lacking == ["mixture"] else "missing_stem"
        raise DecodeError(f"it lacks {files}; add what is missing", reason)
    parts = [part for part in PARTS if (place.path / f"{part}.wav").is_file()]
    infos = {part: _info(place.path / f"{part}.wav") for part in parts}
    frames = {info.frames for info in infos.values()}
    if len(frames) > 1:
        listed = ", ".join(f"{part} {info.frames}" for part, info in infos.items())
        raise DecodeError(
            f"its recordings differ in length (frames: {listed}); export them equally long",
            "length_mismatch",
        )
    if frames == {0}:
        raise DecodeError("its recordings are empty; export them again", "empty")
    for part, info in infos.items():
        if info.subtype == "FLOAT":
            _require_numbers(place.path / f"{part}.wav")
    return frames.pop()


def _info(path: Path) -> AudioInfo:
    require_whole(path, path.name)
    try:
        info = probe(path)
    except DecodeError as error:
        raise DecodeError(f"{path.name} is no readable audio file", "unreadable") from error
    found = (info.sample_rate, info.channels)
    if found != (SAMPLE_RATE, CHANNELS) or info.subtype not in SUBTYPES:
        raise DecodeError(
            f"{path.name} is {info.sample_rate} Hz, {info.channels} channels, {info.subtype}, not "
            f"{SAMPLE_RATE} Hz, {CHANNELS} channels, {' or '.join(SUBTYPES)}; convert it",
            "format",
        )
    return info


def _require_numbers(path: Path) -> None:
    with soundfile.SoundFile(str(path)) as stream:
        for block in stream.blocks(BLOCK, dtype="float32"):
            if not np.isfinite(block).all():
                raise DecodeError(
                    f"{path.name} holds samples that are no numbers; export it again", "non_finite"
                )


def _only_once(places: Sequence[SongLocation], found: Sequence[Finding]) -> list[Finding]:
    """Quarantine a title that has been found before, in a folder further ahead in `SPLITS`."""
    first: dict[str, SongLocation] = {}
    judged = []
    for place, finding in zip(places, found, strict=True):
        earlier = first.setdefault(place.title, place)
        if earlier is not place:
            detail = f"it lies in {earlier.split}/ too; keep one of the two"
            finding = Finding(reason="duplicate_title", detail=detail)  # noqa: PLW2901
        judged.append(finding)
    return judged


def _splits(places: Sequence[SongLocation], config: MusdbConfig) -> dict[SongLocation, Split]:
    splits: dict[SongLocation, Split] = {
        place: "validation"
        if place.split == "train" and place.title in config.validation
        else place.split
        for place in places
    }
    if "validation" not in splits.values():
        train = {place.title: place for place in places if place.split == "train"}
        artists = {title: title.partition(" - ")[0] for title in train}
        drawn = split_by_artist(artists, {"validation": config.validation_share}, config.seed)
        splits |= {train[title]: split for title, split in drawn.items()}
    return splits


def _row(place: SongLocation, finding: Finding, splits: dict[SongLocation, Split]) -> LedgerRow:
    title = place.title if place.title.isprintable() else ascii(place.title)
    track = f"{place.split}/{title}"
    if finding.reason:
        return LedgerRow(
            track=track,
            outcome="quarantined",
            reason=finding.reason,
            detail=finding.detail,
            split=place.split,
        )
    return LedgerRow(
        track=track,
        outcome="kept",
        seconds=finding.frames / SAMPLE_RATE,
        split=splits[place],
        sample_rate=SAMPLE_RATE,
        channels=CHANNELS,
    )

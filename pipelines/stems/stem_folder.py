"""A folder of songs with stems in MUSDB's layout, read in place: checked, split, never copied.

Where a stem is the sum of recordings, the sums are written to the home, beside links to the
recordings that are used as they are.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from pipelines.config import CHANNELS, MIXTURE, SAMPLE_RATE, MusdbConfig
from pipelines.stems.splits import Split, require_validation, split_by_artist
from pipelines.stems.stem_ledger import Finding, OnProgress, close_ledger
from pipelines.stems.stem_locations import SongLocation, destinations, require_songs
from pipelines.stems.stem_mixing import write_sum
from pipelines.stems.wave_files import BLOCK
from pipelines.workers.fan_out import fan_out
from storage.audio.stated_length import require_whole
from storage.audio.waveforms import AudioInfo, probe
from storage.errors import DecodeError
from storage.home.layout import Corpus, Home
from storage.manifests import write_rows
from storage.names.spelling import composed, library_path, printable
from storage.records import LedgerRow, StemSong

SUBTYPES = ("PCM_16", "PCM_24", "FLOAT")


REMEDY = (
    "whole artists are taken for it, and all training songs have one: add songs of another, put "
    "some into validation/, name some in musdb.validation, or set musdb.validation_share=0 to use "
    "the songs for the test alone"
)


class _Examination(NamedTuple):
    """What examining one song takes."""

    location: SongLocation
    recordings: Mapping[str, tuple[str, ...]]
    """The recordings whose sum is each stem."""
    destination: Path | None
    """Folder for the stems that are sums; None if none is."""


def read_songs(
    folder: Path,
    home: Home,
    corpus: Corpus,
    config: MusdbConfig,
    on_progress: OnProgress | None = None,
) -> list[StemSong]:
    """Check every song, write `songs.jsonl` and the ledger, and return the songs' rows.

    A song is a folder `train|validation|test/<title>/` with a WAV per recording, such as bass.wav,
    stereo at 44.1 kHz, 16 or 24 bits or float, equally long. In `test/` it has its mixture.wav too,
    which gets separated; elsewhere the mixture is the stems' sum. Any other song is quarantined.
    Rows name the folder where it is, outside the home, unless a stem is a sum.

    Raises:
        DataError: it is no folder, has no usable song or none to validate, or too many bad ones.
    """
    locations = require_songs(folder, recordings := config.recordings())
    if config.validation_share:
        require_validation(folder, _splits(locations, config).values(), REMEDY)
    made = destinations(corpus, locations) if config.mix else {}
    examinations = [_Examination(each, recordings, made.get(each)) for each in locations]
    found = _examine_all(examinations, config.workers, on_progress)
    judged = list(zip(locations, found, strict=True))
    splits = _splits([each for each, finding in judged if not finding.reason], config)
    close_ledger(corpus, [_row(*each, splits) for each in judged], config.error_budget)
    songs = [
        StemSong(
            name=each.title,
            split=splits[each],
            folder=home.relative(made.get(each, each.path)),
            frames=finding.frames,
            sample_rate=SAMPLE_RATE,
            stems=config.stems,
        )
        for each, finding in judged
        if not finding.reason
    ]
    write_rows(corpus.songs, songs)
    return songs


def _examine_all(
    examinations: Sequence[_Examination], workers: int, on_progress: OnProgress | None
) -> list[Finding]:
    done: list[Finding] = []

    def count(finding: Finding) -> None:
        done.append(finding)
        if on_progress:
            on_progress(len(done), len(examinations))

    found = fan_out(_examine, examinations, workers, count)
    return _only_once([each.location for each in examinations], found)


def _examine(examination: _Examination) -> Finding:
    location = examination.location
    try:
        if not location.title.isprintable():
            raise DecodeError("its name holds what cannot be printed; rename it", "unsafe_name")
        frames = _frames(location, examination.recordings)
        if examination.destination:
            _assemble(location, examination.recordings, examination.destination)
        return Finding(frames)
    except DecodeError as error:
        return Finding(reason=error.reason, detail=str(error))
    except OSError as error:
        return Finding(reason="unreadable", detail=f"it cannot be read ({error.strerror})")


def _assemble(
    location: SongLocation, recordings: Mapping[str, tuple[str, ...]], destination: Path
) -> None:
    """Write a song's sums to a folder, and links to its other stems and its mixture."""
    shutil.rmtree(destination, ignore_errors=True)
    destination.mkdir(parents=True)
    mixture = {MIXTURE: (MIXTURE,)} if location.recording(MIXTURE).is_file() else {}
    for stem, names in {**recordings, **mixture}.items():
        target = destination / f"{stem}.wav"
        if names == (stem,):
            target.symlink_to(location.recording(stem).resolve())
        else:
            write_sum([location.recording(name) for name in names], target)


def _frames(location: SongLocation, recordings: Mapping[str, tuple[str, ...]]) -> int:
    """Return a song's length; raise `DecodeError` with what is wrong with it."""
    stems = sorted(name for names in recordings.values() for name in names)
    wanted = [MIXTURE, *stems] if location.split == "test" else stems
    if lacking := [part for part in wanted if not location.recording(part).is_file()]:
        files = ", ".join(f"{part}.wav" for part in lacking)
        reason = "missing_mixture" if lacking == [MIXTURE] else "missing_stem"
        raise DecodeError(f"it lacks {files}; add what is missing", reason)
    parts = [part for part in (MIXTURE, *stems) if location.recording(part).is_file()]
    infos = {part: _info(location.recording(part)) for part in parts}
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
            _require_numbers(location.recording(part))
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
    with soundfile.SoundFile(library_path(path)) as stream:
        for block in stream.blocks(BLOCK, dtype="float32"):
            if not np.isfinite(block).all():
                raise DecodeError(
                    f"{path.name} holds samples that are no numbers; export it again", "non_finite"
                )


def _only_once(locations: Sequence[SongLocation], found: Sequence[Finding]) -> list[Finding]:
    """Quarantine a title that has been found before, in a folder further ahead in `SPLITS`.

    One title may be written in two forms, by two systems.
    """
    first: dict[str, SongLocation] = {}
    judged = []
    for location, finding in zip(locations, found, strict=True):
        earlier = first.setdefault(composed(location.title), location)
        if earlier is not location:
            title = "" if earlier.title == location.title else f" as {printable(earlier.title)}"
            detail = f"it lies in {earlier.split}/ too{title}; keep one of the two"
            finding = Finding(reason="duplicate_title", detail=detail)  # noqa: PLW2901
        judged.append(finding)
    return judged


def _splits(locations: Sequence[SongLocation], config: MusdbConfig) -> dict[SongLocation, Split]:
    named = {composed(title) for title in config.validation}
    splits: dict[SongLocation, Split] = {
        location: "validation"
        if location.split == "train" and composed(location.title) in named
        else location.split
        for location in locations
    }
    if "validation" not in splits.values():
        train = {location.title: location for location in locations if location.split == "train"}
        artists = {title: title.partition(" - ")[0] for title in train}
        drawn = split_by_artist(artists, {"validation": config.validation_share}, config.seed)
        splits |= {train[title]: split for title, split in drawn.items()}
    return splits


def _row(location: SongLocation, finding: Finding, splits: dict[SongLocation, Split]) -> LedgerRow:
    title = location.title if location.title.isprintable() else ascii(location.title)
    track = f"{location.split}/{title}"
    if finding.reason:
        return LedgerRow(
            track=track,
            outcome="quarantined",
            reason=finding.reason,
            detail=finding.detail,
            split=location.split,
        )
    return LedgerRow(
        track=track,
        outcome="kept",
        seconds=finding.frames / SAMPLE_RATE,
        split=splits[location],
        sample_rate=SAMPLE_RATE,
        channels=CHANNELS,
    )

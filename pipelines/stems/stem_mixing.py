"""Recordings of one song -> four stems and their mixture, block by block, in bounded memory."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipelines.stems.moisesdb_files import Library
from pipelines.stems.musdb import CHANNELS, PARTS, STEMS
from pipelines.stems.stem_ledger import Finding
from pipelines.stems.wave_files import BLOCK, Recording, WaveWriter, wave_bytes, wave_file
from storage.audio.waveforms import Waveform
from storage.errors import DecodeError, IntegrityError, ManifestError
from storage.files import read_json, write_json

NOTE = "mixed.json"
"""Written last into a song's folder: a song without it is not done."""


class Mix(NamedTuple):
    """What mixing one song takes."""

    source: Path
    """MoisesDB's zip or folder."""
    root: str
    """The song's folder in it."""
    recordings: Mapping[str, Sequence[str]]
    """By the four stems."""
    destination: Path
    scratch: Path
    """Free for this song's recordings, and gone afterwards."""


def mix(request: Mix) -> Finding:
    """Mix one song unless it is mixed, and return its length or what is wrong with it.

    Raises:
        MachineError: the disk is full.
    """
    if frames := mixed(request.destination):
        return Finding(frames)
    # What a killed attempt left half written.
    for remains in request.destination.glob(".*.arriving"):
        remains.unlink(missing_ok=True)
    names = [name for group in request.recordings.values() for name in group]
    library = Library(request.source)
    try:
        with library.recordings(request.root, names, request.scratch) as folder:
            frames = mix_stems(folder, request.recordings, request.destination)
    except DecodeError as error:
        return Finding(reason=error.reason, detail=str(error))
    except IntegrityError as error:
        # Where the zip lies is no part of what is wrong with it.
        detail = str(error).replace(str(request.source), request.source.name)
        return Finding(reason="damaged", detail=detail)
    write_json(request.destination / NOTE, {"frames": frames})
    return Finding(frames)


def mixed(folder: Path) -> int:
    """Return the length of a song that is mixed whole, 0 if it is not."""
    try:
        frames = int(read_json(folder / NOTE)["frames"])
    except (ManifestError, KeyError, TypeError, ValueError):
        return 0
    paths = [folder / f"{part}.wav" for part in PARTS]
    whole = all(path.is_file() and path.stat().st_size == wave_bytes(frames) for path in paths)
    return frames if whole else 0


def mix_stems(folder: Path, recordings: Mapping[str, Sequence[str]], destination: Path) -> int:
    """Write a WAV per stem, and mixture.wav, as long as the longest recording; return the frames.

    A stem without recordings is digital silence. The sum of the written stems, in the order of
    `STEMS` and in float32, is the written mixture to the bit.

    Raises:
        DecodeError: a recording cannot be decoded, or none has a sample.
        MachineError: the disk is full.
    """
    with ExitStack() as stack:
        opened: dict[str, list[Recording]] = {stem: [] for stem in STEMS}
        for stem, names in recordings.items():
            for name in names:
                recording = Recording(folder / name, name)
                stack.callback(recording.close)
                opened[stem].append(recording)
        files = {
            part: stack.enter_context(wave_file(destination / f"{part}.wav")) for part in PARTS
        }
        frames = 0
        while length := _write_block(opened, files):
            frames += length
        if not frames:
            raise DecodeError("none of its recordings has a sample", "empty")
    return frames


def _write_block(opened: Mapping[str, Sequence[Recording]], files: Mapping[str, WaveWriter]) -> int:
    """Mix the next block of every recording, and return its length."""
    blocks = {stem: [one.take(BLOCK) for one in group] for stem, group in opened.items()}
    length = max((len(block) for group in blocks.values() for block in group), default=0)
    mixture = np.zeros((length, CHANNELS), np.float32)
    for stem in STEMS:
        total = np.zeros((length, CHANNELS))
        for block in blocks[stem]:
            total[: len(block)] += block
        written: Waveform = total.astype(np.float32)
        mixture += written
        files[stem].write(written)
    files["mixture"].write(mixture)
    return length

"""Recordings of one song -> its stems and their mixture, block by block, in bounded memory.

Sums are taken in float64 and written in float32, so that nothing is clipped.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipelines.config import CHANNELS
from pipelines.stems.moisesdb_files import Library
from pipelines.stems.stem_ledger import Finding
from pipelines.stems.wave_files import (
    BLOCK,
    Recording,
    WaveWriter,
    wave_bytes,
    wave_file,
)
from storage.audio.waveforms import Waveform
from storage.errors import DecodeError, IntegrityError, ManifestError
from storage.files import read_json, remove_arriving, write_json

NOTE = "mixed.json"
"""Written last into a song's folder: a song without it is not done."""
OTHERS = ""
"""The recordings that are in no stem."""


class Mix(NamedTuple):
    """What mixing one song takes."""

    source: Path
    """MoisesDB's zip or folder."""
    root: str
    """The song's folder in it."""
    recordings: Mapping[str, Sequence[str]]
    """By stem."""
    others: Sequence[str]
    """Recordings that are in no stem, but in the mixture."""
    destination: Path
    scratch: Path
    """Free for this song's recordings, and gone afterwards."""


def mix(request: Mix) -> Finding:
    """Mix one song unless it is mixed, and return its length or what is wrong with it.

    Raises:
        MachineError: the disk is full.
    """
    if frames := mixed(request.destination, request.recordings):
        return Finding(frames)
    remove_arriving(request.destination)
    groups = {**request.recordings, OTHERS: request.others}
    names = [name for group in groups.values() for name in group]
    library = Library(request.source)
    try:
        with library.recordings(request.root, names, request.scratch) as folder:
            frames = mix_stems(folder, groups, request.destination)
    except DecodeError as error:
        return Finding(reason=error.reason, detail=str(error))
    except IntegrityError as error:
        # Where the zip lies is no part of what is wrong with it.
        detail = str(error).replace(str(request.source), request.source.name)
        return Finding(reason="damaged", detail=detail)
    write_json(request.destination / NOTE, {"frames": frames})
    return Finding(frames)


def mixed(folder: Path, stems: Iterable[str]) -> int:
    """Return the length in frames of a song that is mixed whole, 0 if it is not."""
    try:
        frames = int(read_json(folder / NOTE)["frames"])
    except (ManifestError, KeyError, TypeError, ValueError):
        return 0
    paths = [folder / f"{part}.wav" for part in ("mixture", *stems)]
    whole = all(path.is_file() and path.stat().st_size == wave_bytes(frames) for path in paths)
    return frames if whole else 0


def mix_stems(folder: Path, recordings: Mapping[str, Sequence[str]], destination: Path) -> int:
    """Write a WAV per stem, and mixture.wav, as long as the longest recording; return the frames.

    A stem without recordings is digital silence. The sum of the written stems, in the order of
    their names and in float32, is the written mixture to the bit, unless recordings of no stem
    (`OTHERS`) are added to it.

    Raises:
        DecodeError: a recording cannot be decoded, or none has a sample.
        MachineError: the disk is full.
    """
    stems = sorted(recordings.keys() - {OTHERS})
    with ExitStack() as stack:
        opened = {
            stem: [stack.enter_context(_opened(folder / name, name)) for name in names]
            for stem, names in recordings.items()
        }
        files = {
            part: stack.enter_context(wave_file(destination / f"{part}.wav"))
            for part in ("mixture", *stems)
        }
        frames = 0
        while length := _write_block(opened, files):
            frames += length
        if not frames:
            raise DecodeError("none of its recordings has a sample", "empty")
    return frames


def write_sum(recordings: Sequence[Path], destination: Path) -> int:
    """Write the sum of recordings, as long as the longest, as one WAV; return the frames.

    Raises:
        DecodeError: a recording cannot be decoded.
        MachineError: the disk is full.
    """
    frames = 0
    with ExitStack() as stack:
        opened = [stack.enter_context(_opened(path, path.name)) for path in recordings]
        writer = stack.enter_context(wave_file(destination))
        while blocks := [block for one in opened if len(block := one.take(BLOCK))]:
            total = _sum(blocks, max(map(len, blocks)))
            writer.write(total)
            frames += len(total)
    return frames


def _write_block(opened: Mapping[str, Sequence[Recording]], files: Mapping[str, WaveWriter]) -> int:
    """Mix the next block of every recording, and return its length."""
    blocks = {stem: [one.take(BLOCK) for one in group] for stem, group in opened.items()}
    length = max((len(block) for group in blocks.values() for block in group), default=0)
    mixture = np.zeros((length, CHANNELS), np.float32)
    for stem in sorted(blocks):
        total = _sum(blocks[stem], length)
        mixture += total
        if stem != OTHERS:
            files[stem].write(total)
    files["mixture"].write(mixture)
    return length


def _sum(blocks: Sequence[Waveform], length: int) -> Waveform:
    """Return the sum of [frames, channels], shorter ones padded to `length`."""
    total = np.zeros((length, CHANNELS))
    for block in blocks:
        total[: len(block)] += block
    return total.astype(np.float32)


@contextmanager
def _opened(path: Path, name: str) -> Iterator[Recording]:
    recording = Recording(path, name)
    try:
        yield recording
    finally:
        recording.close()

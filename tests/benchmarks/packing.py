"""Packing a unit, in processor time: ours in both forms, a plain script, and the floors."""

import gc
import io
import itertools
import os
import resource
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

import indexed_bzip2
import librosa
import numpy as np
import soundfile
import soxr
import webdataset

from pipelines.config import FmaConfig
from pipelines.packing.clips import STEREO
from pipelines.packing.pack import pack_unit, pack_units
from pipelines.packing.process_track import process_track
from pipelines.packing.unit_work import PackRequest
from pipelines.workers.isolation import Isolated
from storage.audio.flac_frames import FlacEncoder, joined
from storage.audio.waveforms import Waveform, quantise
from tests.benchmarks.material import (
    CONFIG,
    long_music,
    request,
    two_hour_request,
    two_hours,
    workplace,
)
from tests.benchmarks.measure import Measured, Result, Variant

RATE = CONFIG.filters.sample_rate
CLIP, HOP = CONFIG.clips.seconds * RATE, CONFIG.clips.hop_seconds * RATE
SEGMENTS = CONFIG.override(["shards.storage=segments"])
PAIR = CONFIG.override(["unit_tracks=4"])
ROUNDS = 3

_fresh = itertools.count()


def run() -> Result:
    """Measure user and system time of this process and the children that it waits for."""
    seconds = long_music().seconds
    rows = _in_turns(
        [
            Variant("stemworks pack_unit, clips", "ours", lambda: _ours(CONFIG)),
            Variant("stemworks pack_unit, segments", "other", lambda: _ours(SEGMENTS)),
            Variant("librosa + soundfile + webdataset.ShardWriter script", "library", _script),
            Variant("floor, clips: bz2, soundfile, soxr, FLAC of each clip", "floor", _floor_clips),
            Variant("floor, segments: the same, FLAC of each 5 s once", "floor", _floor_segments),
            Variant("floor with our codecs, clips", "floor", lambda: _own_floor(2)),
            Variant("floor with our codecs, segments", "floor", lambda: _own_floor(1)),
            Variant("starting a child, which pack_unit does once", "other", _start),
        ],
        ROUNDS,
    )
    times = {row.name: row.median for row in rows}
    ours, segments = (times[f"stemworks pack_unit, {form}"] for form in ("clips", "segments"))
    script, *floors = (row.median for row in rows[2:7])
    notes = (
        f"clips: {ours / floors[0]:.2f} x its floor, {ours / floors[2]:.2f} x that with our "
        f"codecs; {script / ours:.2f} x as fast as the script",
        f"segments: {segments / floors[1]:.2f} x its floor, {segments / floors[3]:.2f} x that with "
        f"our codecs; {script / segments:.2f} x as fast as the script",
        f"{seconds / ours:.0f} seconds of music per core-second",
        *_two_workers(),
        *_sizes(),
        *_longest(),
    )
    return Result("Packing a unit of MP3s (processor time)", rows, seconds, "s of music", notes)


def _in_turns(variants: Sequence[Variant], rounds: int) -> tuple[Measured, ...]:
    """Take the processor time of every variant once per round, in an order that turns."""
    spent: list[list[float]] = [[] for _ in variants]
    for variant in variants:
        variant.work()
    for turn in range(rounds):
        for place in range(len(variants)):
            number = (place + turn) % len(variants)
            spent[number].append(_processor_time(variants[number].work))
    return tuple(
        Measured(
            variant.name,
            variant.role,
            tuple(times),
            median(theirs / ours for theirs, ours in zip(times, spent[0], strict=True)),
        )
        for variant, times in zip(variants, spent, strict=True)
    )


def _processor_time(work: Callable[[], object]) -> float:
    gc.collect()
    before = _used()
    work()
    return _used() - before


def _used() -> float:
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, who))


def _ours(config: FmaConfig) -> int:
    """Pack the unit; return the bytes of its shards."""
    (wanted,) = request(name := f"pack-{next(_fresh)}", config, long_music())
    pack_unit(wanted)
    return _emptied(name)


def _emptied(name: str) -> int:
    """Remove a home; return the bytes of its shards."""
    size = sum(path.stat().st_size for path in (workplace() / name).rglob("*.tar"))
    shutil.rmtree(workplace() / name)
    return size


def _start() -> None:
    with Isolated(process_track, CONFIG.memory_mb) as child:
        child._start()


def _members() -> Iterator[bytes]:
    """Decompress with the standard library."""
    with zipfile.ZipFile(long_music().archive) as archive:
        for name in archive.namelist():
            yield archive.read(name)


def _decoded() -> Iterator[Waveform]:
    """Yield [frames, channels], as the standard library and soundfile's defaults give it."""
    for data in _members():
        frames, rate = soundfile.read(io.BytesIO(data), dtype="float32")
        yield frames if rate == RATE else soxr.resample(frames, rate, RATE)


def _floor_clips() -> None:
    for sound in _decoded():
        for start in range(0, len(sound) - CLIP + 1, HOP):
            _flac(sound[start : start + CLIP])


def _floor_segments() -> None:
    for sound in _decoded():
        for start in range(0, len(sound) - HOP + 1, HOP):
            _flac(sound[start : start + HOP])


def _flac(frames: Waveform) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, frames, RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def _own_floor(per_file: int) -> None:
    """Unpack, decode, resample, encode each 5 s once and join them, with the codecs we take."""
    for data in _members_by_ours():
        frames, rate = soundfile.read(io.BytesIO(data), dtype="float32")
        sound = frames if rate == RATE else soxr.resample(frames, rate, RATE)
        encoder = FlacEncoder(RATE, STEREO, CONFIG.shards.compression)
        starts = range(0, len(sound) - HOP + 1, HOP)
        parts = [encoder.encode(quantise(sound[start : start + HOP].T)) for start in starts]
        for first in range(len(parts) - per_file + 1):
            group = parts[first : first + per_file]
            joined([frame for part in group for frame in part], RATE, STEREO)


def _members_by_ours() -> Iterator[bytes]:
    with zipfile.ZipFile(long_music().archive) as archive:
        for info in archive.infolist():
            with long_music().archive.open("rb") as stream:
                stream.seek(info.header_offset + 30 + len(info.filename.encode()))
                packed = io.BytesIO(stream.read(info.compress_size))
            with indexed_bzip2.open(packed, parallelization=1) as unpacked:
                yield unpacked.read()


def _script() -> None:
    """Do what an afternoon's script does: no checksums, no ledger, no marks, no recovery."""
    folder = workplace() / f"script-{next(_fresh)}"
    folder.mkdir()
    with webdataset.ShardWriter(str(folder / "%06d.tar"), verbose=0) as tar:
        for number, data in enumerate(_members()):
            for place, clip in enumerate(_clips(data)):
                key = f"t{number:06d}_c{place:04d}"
                tar.write({"__key__": key, "flac": _flac(clip.T), "json": {"track": number}})
    shutil.rmtree(folder)


def _clips(data: bytes) -> Iterator[Waveform]:
    song = workplace() / "song.mp3"
    Path(song).write_bytes(data)
    waveform, _ = librosa.load(song, sr=RATE, mono=False)
    for start in range(0, waveform.shape[-1] - CLIP + 1, HOP):
        clip = waveform[:, start : start + CLIP]
        power = np.square(clip.reshape(2, CONFIG.clips.seconds, RATE)).mean(axis=(0, 2))
        if np.count_nonzero(power < 1e-6) <= CONFIG.filters.silent_seconds:
            yield clip


def _two_workers() -> Iterator[str]:
    """Pack two units with one worker and with two, in turns."""
    walls: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(6):
        workers = 1 + turn % 2
        wanted = request(name := f"pair-{next(_fresh)}", PAIR, long_music())
        started = time.perf_counter()
        pack_units(wanted, workers)
        walls[workers].append(time.perf_counter() - started)
        _emptied(name)
    one, two = (min(walls[workers]) for workers in (1, 2))
    load = os.getloadavg()[0]
    times = f"{one:.2f} s and {two:.2f} s, load {load:.1f}"
    yield f"two workers pack two units {one / two:.2f} x as fast as one ({times})"


def _sizes() -> Iterator[str]:
    clips, segments = _ours(CONFIG), _ours(SEGMENTS)
    yield f"segments take {segments / clips:.3f} x the bytes of clips ({clips / 1e6:.0f} MB)"


def _longest() -> Iterator[str]:
    wanted: PackRequest = two_hour_request(name := f"long-{next(_fresh)}", SEGMENTS)
    mark = pack_unit(wanted)
    size = two_hours().stat().st_size / 1e6
    yield (
        f"a track of two hours ({size:.0f} MB): {mark.facts['peak_mb']} MB at most in its child, "
        f"{mark.facts['cpu_seconds']:.1f} core-seconds"
    )
    _emptied(name)

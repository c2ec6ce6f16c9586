"""Packing a unit, in processor time: ours in both forms, a plain script, and the floors."""

import io
import itertools
import shutil
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

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
from pipelines.workers.isolation import Isolated
from storage.audio.flac_frames import FlacEncoder, joined
from storage.audio.waveforms import Waveform, quantise
from tests.benchmarks.benchmark import Benchmark
from tests.benchmarks.material import (
    BIT_RATE,
    CONFIG,
    REPEATS,
    TWO_HOURS,
    Music,
    long_music,
    long_request,
    request,
    workplace,
)
from tests.benchmarks.measure import Variant, clocked, in_turns
from tests.benchmarks.report.form import Comparison, Figure, Measurement, Target

RATE = CONFIG.filters.sample_rate
CLIP, HOP = CONFIG.clips.seconds * RATE, CONFIG.clips.hop_seconds * RATE
SEGMENTS = CONFIG.override(["shards.storage=segments"])
UNMEASURED = CONFIG.override(["measures=false"])
PAIR = CONFIG.override(["unit_tracks=4"])
ROUNDS = 3

OURS, SEGMENTED = "stemworks pack_unit, clips", "stemworks pack_unit, segments"
WITHOUT_MEASURES = "stemworks pack_unit, clips, nothing measured"
SCRIPT = "librosa + soundfile + webdataset.ShardWriter script"
FLOOR, FLOOR_SEGMENTS = (
    "bz2, soundfile, soxr, FLAC of each clip", "the same, FLAC of each 5 s once",
)  # fmt: skip
OWN_FLOOR, OWN_FLOOR_SEGMENTS = (
    "floor with our codecs, clips", "floor with our codecs, segments",
)  # fmt: skip
TIMES_FLOOR, TIMES_SCRIPT = Target(at_most=1.2), Target(at_least=1.3)
MEASURES_COST = Target(at_most=1.15)
TWO_WORKERS, SMALLER, LONGEST_MIB = (
    Target(at_least=1.8), Target(at_most=0.55), Target(at_most=600),
)  # fmt: skip

_fresh = itertools.count()


def run(quick: bool) -> Measurement:
    """Measure user and system time of this process and the children that it waits for."""
    songs = long_music(1 if quick else REPEATS)
    variants = [
        Variant(OURS, "ours", lambda: _ours(songs, CONFIG)),
        Variant(SEGMENTED, "other", lambda: _ours(songs, SEGMENTS)),
        Variant(WITHOUT_MEASURES, "other", lambda: _ours(songs, UNMEASURED)),
        Variant(SCRIPT, "library", lambda: _script(songs)),
        Variant(FLOOR, "floor", lambda: _floor(songs, CLIP)),
        Variant(FLOOR_SEGMENTS, "floor", lambda: _floor(songs, HOP)),
        Variant(OWN_FLOOR, "floor", lambda: _own_floor(songs, 2)),
        Variant(OWN_FLOOR_SEGMENTS, "floor", lambda: _own_floor(songs, 1)),
        Variant("starting a child, once a unit", "other", _start),
    ]
    rounds = 1 if quick else ROUNDS
    rows = in_turns(variants, rounds, "processor")
    seconds = songs.seconds
    rate = tuple(seconds / one for one in rows[0].seconds)
    return Measurement(
        amount=seconds,
        unit="s of music",
        clock="processor",
        rows=rows,
        comparisons=tuple(_compared()),
        figures=(
            Figure(what="music packed in a core-second, clips", unit="s", values=rate),
            _two_workers(songs, rounds),
            _sizes(songs),
            *_longest(60 if quick else TWO_HOURS),
        ),
    )


def _compared() -> Iterator[Comparison]:
    """Yield each form against its floors, and the script against it."""
    for form, ours, floor, own in (
        ("clips", OURS, FLOOR, OWN_FLOOR),
        ("segments", SEGMENTED, FLOOR_SEGMENTS, OWN_FLOOR_SEGMENTS),
    ):
        for what, over, under, target in (
            (f"ours / floor, {form}", ours, floor, TIMES_FLOOR),
            (f"ours / floor with our codecs, {form}", ours, own, None),
            (f"script / ours, {form}", SCRIPT, ours, TIMES_SCRIPT),
        ):
            yield Comparison(what=what, over=over, under=under, target=target)
    yield Comparison(
        what="with measures / without", over=OURS, under=WITHOUT_MEASURES, target=MEASURES_COST
    )


def _ours(songs: Music, config: FmaConfig) -> int:
    """Pack the unit; return the bytes of its shards."""
    (wanted,) = request(name := f"pack-{next(_fresh)}", config, songs)
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


def _members(songs: Music) -> Iterator[bytes]:
    """Decompress with the standard library."""
    with zipfile.ZipFile(songs.archive) as archive:
        for name in archive.namelist():
            yield archive.read(name)


def _decoded(songs: Music) -> Iterator[Waveform]:
    """Yield [frames, channels], as the standard library and soundfile's defaults give it."""
    for data in _members(songs):
        frames, rate = soundfile.read(io.BytesIO(data), dtype="float32")
        yield frames if rate == RATE else soxr.resample(frames, rate, RATE)


def _floor(songs: Music, length: int) -> None:
    for sound in _decoded(songs):
        for start in range(0, len(sound) - length + 1, HOP):
            _flac(sound[start : start + length])


def _flac(frames: Waveform) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, frames, RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def _own_floor(songs: Music, per_file: int) -> None:
    """Unpack, decode, resample, encode each 5 s once and join them, with the codecs we take."""
    for data in _members_by_ours(songs):
        frames, rate = soundfile.read(io.BytesIO(data), dtype="float32")
        sound = frames if rate == RATE else soxr.resample(frames, rate, RATE)
        encoder = FlacEncoder(RATE, STEREO, CONFIG.shards.compression)
        starts = range(0, len(sound) - HOP + 1, HOP)
        parts = [encoder.encode(quantise(sound[start : start + HOP].T)) for start in starts]
        for first in range(len(parts) - per_file + 1):
            group = parts[first : first + per_file]
            joined([frame for part in group for frame in part], RATE, STEREO)


def _members_by_ours(songs: Music) -> Iterator[bytes]:
    with zipfile.ZipFile(songs.archive) as archive:
        for info in archive.infolist():
            with songs.archive.open("rb") as stream:
                stream.seek(info.header_offset + 30 + len(info.filename.encode()))
                packed = io.BytesIO(stream.read(info.compress_size))
            with indexed_bzip2.open(packed, parallelization=1) as unpacked:
                yield unpacked.read()


def _script(songs: Music) -> None:
    """Do what an afternoon's script does: no checksums, no ledger, no marks, no recovery."""
    folder = workplace() / f"script-{next(_fresh)}"
    folder.mkdir()
    with webdataset.ShardWriter(str(folder / "%06d.tar"), verbose=0) as tar:
        for number, data in enumerate(_members(songs)):
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


def _two_workers(songs: Music, rounds: int) -> Figure:
    """Pack two units with one worker and with two, in turns; compare times that passed."""
    walls: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(2 * rounds):
        workers = 1 + turn % 2
        wanted = request(name := f"pair-{next(_fresh)}", PAIR, songs)
        walls[workers].append(clocked(partial(pack_units, wanted, workers)))
        _emptied(name)
    faster = tuple(one / two for one, two in zip(walls[1], walls[2], strict=True))
    what = "two units: two workers as fast as one, wall-clock"
    return Figure(what=what, unit="x", values=faster, target=TWO_WORKERS)


def _sizes(songs: Music) -> Figure:
    smaller = _ours(songs, SEGMENTS) / _ours(songs, CONFIG)
    what = "bytes of segments / bytes of clips"
    return Figure(what=what, unit="x", values=(smaller,), target=SMALLER)


def _longest(length: int) -> Iterator[Figure]:
    wanted = long_request(name := f"long-{next(_fresh)}", length, SEGMENTS)
    facts = pack_unit(wanted).facts
    what = f"a track of {length / 3600:.2g} hours at {BIT_RATE // 1000} kbit/s, segments"
    peak = float(facts["peak_mb"])
    yield Figure(what=f"{what}: peak memory", unit="MiB", values=(peak,), target=LONGEST_MIB)
    seconds = float(facts["cpu_seconds"])
    yield Figure(what=f"{what}: processor time", unit="s", values=(seconds,))
    _emptied(name)


BENCHMARK = Benchmark(
    name="packing",
    title="Packing a unit of MP3s",
    words=f"""\
Synthesised songs of minutes in a bzip2-compressed zip, made into FLAC clips of
{CONFIG.clips.seconds} s, {CONFIG.clips.hop_seconds} s apart: one unit, one worker. Times are
**processor time** (user and system, children and their start included): what a cluster pays for.
*Segments* store each {CONFIG.clips.hop_seconds} s once. The script is an afternoon's:
`librosa.load`, the silence rule, `soundfile.write`, `webdataset.ShardWriter`; no checksums, no
ledger, no marks, no recovery. The floors only unzip, decode, resample and encode what is written:
with the standard library's bz2 and soundfile's FLAC, and with the codecs that we use, whose clips
share the frames of FLAC that lie in both. In a real unit, of six times the songs, a child is
started once as well.""",
    omitted="reading the archive over a network; more than two workers; real recordings.",
    run=run,
)

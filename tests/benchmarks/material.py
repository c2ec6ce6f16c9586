"""What the benchmarks work on: synthesised music in the true archive formats, made once a run."""

import atexit
import io
import struct
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import soundfile

from pipelines.archives.sources import Source
from pipelines.config import FmaConfig
from pipelines.packing.unit_work import PackRequest, corpus_key
from pipelines.synthesis import fma_corpus
from pipelines.synthesis.config import SynthesisConfig
from pipelines.synthesis.synthetic_archives import new_archive
from pipelines.tracks.fma import read_tracks
from pipelines.tracks.plan import make_plan
from storage.home.layout import Home
from storage.records import Track, Unit
from tests.synthesised import write_zip

TRACKS = 8
"""A unit of the demo recipe."""
CONFIG = FmaConfig(archive="fma_bench.zip", unit_tracks=TRACKS)
REPEATS = 5
"""Songs of the demo that make one as long as the archive's are."""
RATE, BIT_RATE = 44_100, 320_000
TWO_HOURS = 7200


class Music(NamedTuple):
    """An FMA archive, its tracks' MP3s among it, and how long they last."""

    archive: Path
    metadata: Path
    seconds: float


@cache
def workplace() -> Path:
    """Return a folder that vanishes with the process."""
    folder = tempfile.TemporaryDirectory(prefix="stemworks-bench-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@cache
def music() -> Music:
    """Write an archive of sound tracks only, one of them at 48 kHz."""
    plan = SynthesisConfig(tracks=TRACKS - 1, track_seconds=30)
    tracks = [t for t in fma_corpus.plan_tracks(plan) if t.accident in (None, "48 kHz")]
    archive, metadata = workplace() / CONFIG.archive, workplace() / "fma_metadata.zip"
    with new_archive(archive) as target:
        files = map(fma_corpus.make_file, tracks)
        for _ in fma_corpus.write_fma(target, archive.stem, tracks, files):
            pass
    table = fma_corpus.tracks_table(tracks, "bench").encode()
    write_zip(metadata, {"fma_metadata/tracks.csv": table})
    return Music(archive, metadata, sum(track.seconds for track in tracks))


@cache
def long_music(repeats: int = REPEATS) -> Music:
    """Write the same tracks alone, longer: each is several of the short ones in a row."""
    short = music()
    with zipfile.ZipFile(short.archive) as source:
        names = [name for name in source.namelist() if name.endswith(".mp3")]
        songs = [soundfile.read(io.BytesIO(source.read(name))) for name in names]
    members, seconds = {}, 0.0
    for number, (name, (_, rate)) in enumerate(zip(names, songs, strict=True)):
        alike = [sound for sound, other in songs if other == rate]
        parts = [alike[(number + place) % len(alike)] for place in range(repeats)]
        members[name] = _mp3(np.concatenate(parts), rate)
        seconds += sum(map(len, parts)) / rate
    archive = workplace() / f"long-{repeats}" / CONFIG.archive
    archive.parent.mkdir()
    write_zip(archive, members, zipfile.ZIP_BZIP2)
    return Music(archive, short.metadata, seconds)


@cache
def long_track(seconds: int) -> Path:
    """Write one MP3 at 320 kbit/s: half a minute's frames again and again."""
    sound = np.random.default_rng(0).normal(0, 0.1, (2, 30 * RATE)).astype(np.float32)
    buffer = io.BytesIO()
    bare = {"write_xing": "0", "id3v2_version": "0"}
    with av.open(buffer, "w", format="mp3", options=bare) as container:
        stream = container.add_stream("mp3", rate=RATE, layout="stereo")
        stream.bit_rate = BIT_RATE
        frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout="stereo")
        frame.sample_rate = RATE
        container.mux([*stream.encode(frame), *stream.encode(None)])
    frames = buffer.getvalue()
    path = workplace() / f"track-{seconds}" / "long.mp3"
    path.parent.mkdir()
    with path.open("wb") as target:
        target.write(_length_tag(frames[:4], round(seconds * RATE / 1152)))
        for _ in range(seconds // 30):
            target.write(frames)
    return path


def request(name: str, config: FmaConfig, material: Music) -> list[PackRequest]:
    """Return the units of an archive, to be packed into a home called `name`."""
    archive, metadata, _ = material
    plan = make_plan(read_tracks(archive, metadata), config)
    home = Home(workplace() / name)
    corpus = home.relative(home.corpus("fma", corpus_key(plan, config)).root)
    source = Source(location=str(archive), bytes=archive.stat().st_size)
    return [PackRequest(home.url, corpus, source, unit, config) for unit in plan.units]


def long_request(name: str, seconds: int, config: FmaConfig) -> PackRequest:
    """Return a unit of one long track alone."""
    path = long_track(seconds)
    track = Track(id="000001", member=path.name, bytes=path.stat().st_size)
    source = Source(location=str(path.parent), form="folder")
    home = Home(workplace() / name)
    unit = Unit(id="0000", tracks=(track,))
    return PackRequest(home.url, "fma/long", source, unit, config)


def _mp3(sound: np.ndarray[tuple[int, int], np.dtype[np.float64]], rate: int) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, rate, format="MP3")
    return buffer.getvalue()


def _length_tag(header: bytes, frames: int) -> bytes:
    """Return an MPEG frame that states how many follow, as encoders of constant rate write it."""
    unpadded = header[:2] + bytes([header[2] & ~2]) + header[3:]
    tag = unpadded + bytes(32) + b"Info" + struct.pack(">II", 1, frames)
    return tag.ljust(144 * BIT_RATE // RATE, b"\0")

"""Packing one unit: ours, a plain script around librosa and webdataset, and the floor."""

import io
import itertools
import zipfile
from collections.abc import Iterator
from pathlib import Path

import librosa
import numpy as np
import soundfile
import webdataset

from pipelines.clips import conform, cut
from pipelines.pack import pack_unit
from storage.audio import Waveform, encode
from storage.decode import decode
from tests.benchmarks.material import CONFIG, music, request, workplace
from tests.benchmarks.measure import Result, Variant, in_turns

RATE = CONFIG.filters.sample_rate
ROUNDS = 5

_fresh = itertools.count()


def run() -> Result:
    """Measure on one core each."""
    whole = music()
    rows = in_turns(
        [
            Variant("stemworks pack_unit", "ours", _ours),
            Variant("librosa + soundfile + webdataset script", "library", _script),
            Variant("bunzip2 + decode", "floor", _decode_only),
            Variant("bunzip2 + decode + FLAC of the same clips", "floor", _decode_and_encode),
        ],
        ROUNDS,
    )
    megabytes = sum(len(data) for data in _members()) / 1e6
    notes = (
        f"{megabytes:.2f} MB of MP3, {rows[0].median / megabytes:.2f} core-seconds per MB",
        f"{whole.seconds / rows[0].median:.0f} seconds of music per core-second",
    )
    return Result("Packing a unit of MP3s", rows, whole.seconds, "s of music", notes)


def _ours() -> None:
    pack_unit(request(f"pack-{next(_fresh)}"))


def _members() -> Iterator[bytes]:
    with zipfile.ZipFile(music().archive) as archive:
        for name in archive.namelist():
            if name.endswith(".mp3"):
                yield archive.read(name)


def _decode_only() -> None:
    for data in _members():
        soundfile.read(io.BytesIO(data), dtype="float32")


def _decode_and_encode() -> None:
    for data in _members():
        waveform = conform(decode(data, "song", CONFIG.track_seconds), RATE)
        for clip in cut(waveform, RATE, CONFIG.clips):
            encode(waveform[:, clip.frames], RATE)


def _script() -> None:
    """Do what an afternoon's script does: no checksums, no ledger, no marks, no recovery."""
    target = workplace() / f"script-{next(_fresh)}.tar"
    with webdataset.TarWriter(str(target)) as tar:
        for number, data in enumerate(_members()):
            for place, clip in enumerate(_clips(data)):
                buffer = io.BytesIO()
                soundfile.write(buffer, clip.T, RATE, format="FLAC", subtype="PCM_16")
                key = f"t{number:06d}_c{place:04d}"
                tar.write({"__key__": key, "flac": buffer.getvalue(), "json": {"track": number}})
    target.unlink()


def _clips(data: bytes) -> Iterator[Waveform]:
    song = workplace() / "song.mp3"
    Path(song).write_bytes(data)
    waveform, _ = librosa.load(song, sr=RATE, mono=False)
    length, hop = CONFIG.clips.seconds * RATE, CONFIG.clips.hop_seconds * RATE
    for start in range(0, waveform.shape[-1] - length + 1, hop):
        clip = waveform[:, start : start + length]
        power = np.square(clip.reshape(2, CONFIG.clips.seconds, RATE)).mean(axis=(0, 2))
        if np.count_nonzero(power < 1e-6) <= CONFIG.filters.silent_seconds:
            yield clip

"""Corpora of shards, small and whole, in either form."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from storage.audio.waveforms import Codec, Waveform, encode
from storage.files import hash_file, write_json
from storage.home.layout import Corpus, shard_offsets
from storage.records import ShardInfo, plain
from storage.shards.writer import ClipStart, Sample, ShardIndex, ShardWriter, Written

HOPS = 2
"""Samples of a clip in the form `segments`."""


class Form(NamedTuple):
    """How a corpus is stored."""

    sample_rate: int
    clip_frames: int
    storage: Literal["clips", "segments"] = "clips"
    codec: Codec = "flac"
    max_bytes: int = 10**9

    @property
    def samples_per_clip(self) -> int:
        return HOPS if self.storage == "segments" else 1


def describe(written: Written) -> ShardInfo:
    """Return what an index says of a finished shard."""
    sidecar = shard_offsets(written.path)
    return ShardInfo(
        name=written.path.name,
        bytes=written.path.stat().st_size,
        sha256=hash_file(written.path),
        clips=written.clips,
        samples=written.samples,
        sidecar_bytes=sidecar.stat().st_size,
        sidecar_sha256=hash_file(sidecar),
    )


def write_index(path: Path, written: Sequence[Written], form: Form) -> Path:
    """Write the index of finished shards; return its path."""
    index = ShardIndex(
        storage=form.storage,
        sample_rate=form.sample_rate,
        clip_frames=form.clip_frames,
        sample_frames=form.clip_frames // form.samples_per_clip,
        codec=form.codec,
        shards=tuple(map(describe, written)),
    )
    write_json(path, plain(index))
    return path


def write_corpus(folder: Path, songs: Mapping[str, Waveform], form: Form) -> Path:
    """Cut songs [channels, frames] into clips half a clip apart; return the index.

    Songs are named by their tracks; all are of the training split.
    """
    corpus = Corpus(folder)
    path_of = partial(corpus.shard, "0000")
    with ShardWriter(path_of, form.max_bytes, form.codec, form.samples_per_clip) as writer:
        for track, song in songs.items():
            add = partial(writer.add, track, "training")
            samples = cut_song(track, song, form)
            if form.storage == "segments":
                keys = [f"t{track}_c{n:04d}" for n in range(len(samples) - HOPS + 1)]
                add(samples, [ClipStart(key, n) for n, key in enumerate(keys)])
            else:
                for sample in samples:
                    add([sample], [ClipStart(sample.key, 0)])
        written = writer.close()
    return write_index(corpus.index, written, form)


def cut_song(track: str, song: Waveform, form: Form) -> list[Sample]:
    """Return a song's clips, or its hops."""
    hop = form.clip_frames // HOPS
    length = hop if form.storage == "segments" else form.clip_frames
    info = {"track": track, "split": "training", "title": "Ü"}
    return [
        Sample.of(
            f"t{track}_{form.storage[0]}{number:04d}",
            encode(song[:, start : start + length], form.sample_rate, form.codec),
            info | {"number": number},
        )
        for number, start in enumerate(range(0, song.shape[1] - length + 1, hop))
    ]


def digest(folder: Path) -> str:
    """Return the sha256 of all files of a folder, in the order of their names."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()

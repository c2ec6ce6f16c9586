"""Encoded samples staged on disk until their unit is whole: clips, or the seconds clips share.

Each piece of sound is encoded once, however many clips it is part of. The file has no name, so no
crash leaves it behind: the reading process holds it open, and the writing process opens it through
the other's descriptor.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from pipelines.config import ShardConfig
from pipelines.packing.clips import STEREO, Clip, Piece, key_of
from storage.audio.flac_frames import FlacEncoder, joined
from storage.audio.wav_headers import wav_file
from storage.audio.waveforms import quantise
from storage.config import Json
from storage.files import write_at
from storage.shards.writer import ClipStart

About = Callable[[float, float], Json]
"""What the JSON of a sample says of its track between two seconds of it."""


class SampleExtent(NamedTuple):
    """Where one sample is in the staging file."""

    key: str
    offset: int
    bytes: int
    info: Json
    """Its JSON in the shard."""


class Group(NamedTuple):
    """Samples that stay together, and the clips that they make."""

    samples: list[SampleExtent]
    clips: list[ClipStart]


class StagingFile:
    """The staging file as its writer sees it, from byte `start` on.

    Bytes after `start` belong to a track that failed, and are overwritten.
    """

    def __init__(self, path: Path, start: int) -> None:
        self._descriptor = os.open(path, os.O_WRONLY)
        self.end = start

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def put(self, key: str, audio: bytes, info: Json) -> SampleExtent:
        """Append one sample."""
        extent = SampleExtent(key, self.end, len(audio), info)
        self.end = write_at(self._descriptor, self.end, audio)
        return extent


class PieceEncoder:
    """Encodes each piece of a track once; joins whole pieces into files."""

    def __init__(self, sample_rate: int, config: ShardConfig) -> None:
        self._rate = sample_rate
        self._flac: FlacEncoder | None = None
        if config.codec == "flac":
            self._flac = FlacEncoder(sample_rate, STEREO, config.compression)
        self._parts: dict[int, list[Any]] = {}

    def file(self, pieces: Sequence[Piece]) -> bytes:
        """Return a FLAC or WAV file of pieces; earlier pieces are dropped from memory."""
        first = pieces[0].number
        self._parts = {number: part for number, part in self._parts.items() if number >= first}
        parts = [part for piece in pieces for part in self._encoded(piece)]
        if self._flac is None:
            return wav_file(parts, self._rate)
        return joined(parts, self._rate, STEREO)

    def _encoded(self, piece: Piece) -> list[Any]:
        if piece.number not in self._parts:
            samples = quantise(piece.sound)
            encoded = [samples] if self._flac is None else self._flac.encode(samples)
            self._parts[piece.number] = encoded
        return self._parts[piece.number]


class ClipWriter:
    """Stages the kept clips of one track, as clips or as segments (`shards.storage`)."""

    def __init__(
        self, track: str, staging: StagingFile, encoder: PieceEncoder, config: ShardConfig
    ) -> None:
        self._track, self._staging, self._encoder = track, staging, encoder
        self._shared = config.storage == "segments"
        self._next = 0
        """First piece that is in no group yet."""
        self.groups: list[Group] = []

    def write(self, clip: Clip, about: About) -> None:
        """Stage one clip; `about` gives what else a sample's JSON says of a stretch of seconds."""
        if self._shared:
            self._write_pieces(clip, about)
        else:
            described = _describe(clip.start_seconds, clip.pieces)
            stop = clip.start_seconds + len(clip.power_db)
            note = about(clip.start_seconds, stop) | {"clip": clip.number} | described
            extent = self._staging.put(
                key_of(self._track, clip), self._encoder.file(clip.pieces), note
            )
            self.groups.append(Group([extent], [ClipStart(extent.key, 0)]))

    def _write_pieces(self, clip: Clip, about: About) -> None:
        """Stage those pieces of a clip that are not staged yet; a gap before it begins a group."""
        begin = clip.pieces[0].number
        if not self.groups or begin > self._next:
            self.groups.append(Group([], []))
            self._next = begin
        samples, clips = self.groups[-1]
        for piece in clip.pieces[self._next - begin :]:
            seconds = len(piece.power_db)
            start = clip.start_seconds + (piece.number - begin) * seconds
            described = _describe(start, [piece])
            note = about(start, start + seconds) | {"block": piece.number} | described
            key = f"t{self._track}_b{piece.number:04d}"
            samples.append(self._staging.put(key, self._encoder.file([piece]), note))
        self._next = clip.pieces[-1].number + 1
        clips.append(ClipStart(key_of(self._track, clip), begin - (self._next - len(samples))))


def _describe(start_seconds: float, pieces: Sequence[Piece]) -> Json:
    return {
        "start_seconds": start_seconds,
        "power_db": [round(power, 2) for piece in pieces for power in piece.power_db],
        "n_clipped": sum(piece.clipped for piece in pieces),
    }

"""Encoded sound put aside on disk until a unit is whole, as clips or as the seconds they share.

Each piece of sound is encoded once, whatever clips it lies in. The file has no name, so that no
crash leaves it behind: the process that reads it holds it, the one that writes opens it there.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from pipelines.config import ShardConfig
from pipelines.packing.clips import STEREO, Clip, Piece, key_of
from storage.audio.flac_frames import FlacEncoder, joined
from storage.audio.waveforms import quantise, wav_file
from storage.config import Json
from storage.shards.writer import ClipPlace


class SampleExtent(NamedTuple):
    """Where one sample lies in the spool."""

    key: str
    offset: int
    bytes: int
    info: Json
    """What becomes its JSON."""


class Group(NamedTuple):
    """Samples that are never parted, and the clips that they make."""

    samples: list[SampleExtent]
    clips: list[ClipPlace]


class StagingFile:
    """The spool as the process that fills it sees it, from `start` on.

    What lies behind `start` is overwritten: it is of a track that was given up.
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
        place = SampleExtent(key, self.end, len(audio), info)
        rest = memoryview(audio)
        while rest:
            written = os.pwrite(self._descriptor, rest, self.end)
            self.end += written
            rest = rest[written:]
        return place


class PieceEncoder:
    """Encodes each piece of a track once; puts files together from whole pieces."""

    def __init__(self, sample_rate: int, config: ShardConfig) -> None:
        self._rate = sample_rate
        self._flac: FlacEncoder | None = None
        if config.codec == "flac":
            self._flac = FlacEncoder(sample_rate, STEREO, config.compression)
        self._parts: dict[int, list[Any]] = {}

    def file(self, pieces: Sequence[Piece]) -> bytes:
        """Return a FLAC or WAV file of pieces; those before its first are forgotten."""
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


class Keeper:
    """Puts the kept clips of one track into the spool, in the form that the configuration names."""

    def __init__(
        self, track: str, spool: StagingFile, encoder: PieceEncoder, config: ShardConfig
    ) -> None:
        self._track, self._spool, self._encoder = track, spool, encoder
        self._shared = config.storage == "segments"
        self._next = 0
        """First piece that no group holds yet."""
        self.groups: list[Group] = []

    def keep(self, clip: Clip, about: Json) -> None:
        """Put one clip aside; `about` is what every sample of the track says of it."""
        if self._shared:
            self._keep_pieces(clip, about)
        else:
            note = about | {"clip": clip.number} | _describe(clip.start_seconds, clip.pieces)
            place = self._spool.put(
                key_of(self._track, clip), self._encoder.file(clip.pieces), note
            )
            self.groups.append(Group([place], [ClipPlace(place.key, 0)]))

    def _keep_pieces(self, clip: Clip, about: Json) -> None:
        """Put aside what of a clip is not there yet; a gap before it begins another group."""
        begin = clip.pieces[0].number
        if not self.groups or begin > self._next:
            self.groups.append(Group([], []))
            self._next = begin
        samples, clips = self.groups[-1]
        for piece in clip.pieces[self._next - begin :]:
            start = clip.start_seconds + (piece.number - begin) * len(piece.power_db)
            note = about | {"block": piece.number} | _describe(start, [piece])
            key = f"t{self._track}_b{piece.number:04d}"
            samples.append(self._spool.put(key, self._encoder.file([piece]), note))
        self._next = clip.pieces[-1].number + 1
        clips.append(ClipPlace(key_of(self._track, clip), begin - (self._next - len(samples))))


def _describe(start_seconds: int, pieces: Sequence[Piece]) -> Json:
    return {
        "start_seconds": start_seconds,
        "power_db": [round(power, 2) for piece in pieces for power in piece.power_db],
        "n_clipped": sum(piece.clipped for piece in pieces),
    }

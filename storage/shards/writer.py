"""Clips -> WebDataset tars whose bytes depend on the clips alone, and how they are listed.

A sample is `<key>.flac` and `<key>.json`, in that order, in a USTAR tar with every time, owner
and mode fixed. A clip is one sample, or, where storage is by segments, several that follow each
other. Beside `0003-00.tar` lies `0003-00.idx.json`, its sidecar, which says where each sample's
audio is, so that any clip is one seek away. `index.json` lists the shards of a whole corpus.
"""

import io
import json
import re
import tarfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

from pydantic import ValidationError, model_validator

from storage.audio.waveforms import Codec
from storage.config import Json
from storage.errors import IntegrityError, ManifestError
from storage.files import arriving, write_bytes
from storage.home.layout import shard_offsets
from storage.records import Record, ShardInfo

BLOCK = tarfile.BLOCKSIZE
"""Bytes that a member's header takes, and that its content is padded to a multiple of."""
KEY = re.compile(r"[A-Za-z0-9_-]{1,90}")
"""What may name a sample. WebDataset ends a key at its first dot; USTAR ends a name at 100."""


class Sample(NamedTuple):
    """One sample of a shard, its audio not yet read."""

    key: str
    info: Json
    """What becomes its JSON."""
    size: int
    """Bytes of its encoded audio."""
    read: Callable[[], bytes]
    """Gives the audio, once, when its turn to be written has come."""

    @classmethod
    def of(cls, key: str, audio: bytes, info: Json) -> "Sample":
        """Return a sample whose audio is in memory."""
        return cls(key, info, len(audio), lambda: audio)


class ClipStart(NamedTuple):
    """Where a clip is among the samples that it is added with."""

    key: str
    first: int
    """Its first sample, counted from 0."""


class Written(NamedTuple):
    """A finished shard."""

    path: Path
    clips: int
    samples: int


class Sidecar(Record):
    """Where the samples and clips of one shard are: columns, all in the shard's order."""

    offsets: tuple[int, ...]
    """Of each sample: its audio's first byte in the tar."""
    sizes: tuple[int, ...]
    """Of each sample: bytes of its audio."""
    crcs: tuple[int, ...]
    """Of each sample: zlib crc32 of its audio."""
    clips: tuple[str, ...]
    """Of each clip: its key."""
    firsts: tuple[int, ...]
    """Of each clip: number of its first sample in the shard."""
    of_tracks: tuple[int, ...]
    """Of each clip: number of its track in the two columns below."""
    tracks: tuple[str, ...]
    splits: tuple[str, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        samples = {len(self.offsets), len(self.sizes), len(self.crcs)}
        clips = {len(self.clips), len(self.firsts), len(self.of_tracks)}
        if len(samples) > 1 or len(clips) > 1 or len(self.tracks) != len(self.splits):
            raise ValueError("its columns differ in length")
        ends = [offset + size for offset, size in zip(self.offsets, self.sizes, strict=True)]
        if any(offset % BLOCK for offset in self.offsets) or any(
            end > offset for end, (_, offset) in zip(ends, pairwise(self.offsets), strict=False)
        ):
            raise ValueError("its samples overlap, or begin in the middle of a block")
        for column, below in ((self.firsts, samples), (self.of_tracks, {len(self.tracks)})):
            if column and not 0 <= min(column) <= max(column) < max(below):
                raise ValueError("a clip names a sample or a track that is not there")
        return self

    @classmethod
    def parse(cls, data: bytes, shard: str) -> "Sidecar":
        """Read a sidecar; raise `ManifestError` that names the shard if it is none."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise ManifestError(
                f"the sidecar of shard {shard} is malformed ({error.errors()[0]['msg']}); run the "
                "study again to rebuild it"
            ) from error


class ShardIndex(Record):
    """All shards of a corpus, as `index.json`."""

    storage: Literal["clips", "segments"]
    """Whether a sample is a clip, or a piece that overlapping clips share."""
    sample_rate: int
    clip_frames: int
    sample_frames: int
    """Frames of every sample: a clip's in the form `clips`, a hop's in `segments`."""
    codec: Codec
    shards: tuple[ShardInfo, ...]

    @property
    def samples_per_clip(self) -> int:
        """Samples that make a clip."""
        return self.clip_frames // self.sample_frames

    @property
    def clips(self) -> int:
        """Clips of all shards."""
        return sum(shard.clips for shard in self.shards)

    @property
    def bytes(self) -> int:
        """Size of all shards."""
        return sum(shard.bytes for shard in self.shards)

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.samples_per_clip * self.sample_frames != self.clip_frames:
            raise ValueError(
                f"clips of {self.clip_frames} frames are not cut from whole samples of "
                f"{self.sample_frames}"
            )
        if self.storage == "clips" and self.samples_per_clip != 1:
            raise ValueError("in the form `clips`, a clip is one sample")
        return self


class ShardWriter:
    """Writes groups of samples to numbered tars, opening a new one before `max_bytes` is passed.

    A group, the samples that some clips share, is never divided; one larger than `max_bytes` has
    a tar of its own. Each tar arrives under its name only when it is whole; what is not, when the
    writer is left by an error, leaves nothing.
    """

    def __init__(
        self,
        path_of: Callable[[int], Path],
        max_bytes: int,
        codec: Codec,
        samples_per_clip: int = 1,
    ) -> None:
        self._path_of = path_of
        self._max_bytes = max_bytes
        self._codec = codec
        self._samples_per_clip = samples_per_clip
        self._columns = _Columns()
        self._offset = 0
        self._written: list[Written] = []
        self._arrival = ExitStack()
        self._tar: tarfile.TarFile | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._arrival.__exit__(kind, error, trace)

    def add(
        self, track: str, split: str, samples: Sequence[Sample], clips: Sequence[ClipStart]
    ) -> None:
        """Add one group: samples of one track, and the clips that they make.

        Raises:
            IntegrityError: a sample's audio is not as long as was stated.
        """
        keys = [sample.key for sample in samples] + [clip.key for clip in clips]
        assert all(map(KEY.fullmatch, keys)), f"a key of {keys} is none"
        assert all(0 <= clip.first <= len(samples) - self._samples_per_clip for clip in clips)
        notes = [_json(sample.info) for sample in samples]
        size = sum(
            _padded(sample.size) + _padded(len(note))
            for sample, note in zip(samples, notes, strict=True)
        )
        if self._tar and self._offset + size > self._max_bytes:
            self._finish()
        tar = self._tar or self._begin()
        self._columns.add_clips(track, split, clips)
        for sample, note in zip(samples, notes, strict=True):
            self._write(tar, sample, note)

    def close(self) -> list[Written]:
        """Finish the last tar; return all in order. A writer given nothing writes no tar."""
        if self._tar:
            self._finish()
        return self._written

    def _write(self, tar: tarfile.TarFile, sample: Sample, note: bytes) -> None:
        audio = sample.read()
        if len(audio) != sample.size:
            raise IntegrityError(
                f"sample {sample.key} has {len(audio)} bytes, not {sample.size} as announced; "
                "its staging file is damaged; run again"
            )
        self._columns.add_sample(self._offset + BLOCK, audio)
        for suffix, data in ((self._codec, audio), ("json", note)):
            tar.addfile(_member(f"{sample.key}.{suffix}", len(data)), io.BytesIO(data))
            self._offset += _padded(len(data))

    def _begin(self) -> tarfile.TarFile:
        path = self._path_of(len(self._written))
        temporary = self._arrival.enter_context(arriving(path))
        self._tar = self._arrival.enter_context(
            tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115  entered here
        )
        return self._tar

    def _finish(self) -> None:
        path = self._path_of(len(self._written))
        sidecar = self._columns.sidecar()
        write_bytes(shard_offsets(path), _json(sidecar.model_dump()) + b"\n")
        self._arrival.close()
        self._written.append(Written(path, len(sidecar.clips), len(sidecar.offsets)))
        self._tar, self._columns, self._offset = None, _Columns(), 0


class _Columns:
    """A sidecar in the making."""

    def __init__(self) -> None:
        self._samples: list[tuple[int, int, int]] = []
        self._clips: list[tuple[str, int, int]] = []
        self._tracks: dict[str, tuple[int, str]] = {}

    def add_clips(self, track: str, split: str, clips: Sequence[ClipStart]) -> None:
        number, known = self._tracks.setdefault(track, (len(self._tracks), split))
        assert known == split, f"track {track} is of one split"
        begin = len(self._samples)
        self._clips += [(clip.key, begin + clip.first, number) for clip in clips]

    def add_sample(self, offset: int, audio: bytes) -> None:
        self._samples.append((offset, len(audio), zlib.crc32(audio)))

    def sidecar(self) -> Sidecar:
        offsets, sizes, crcs = zip(*self._samples, strict=True) if self._samples else ((), (), ())
        keys, firsts, numbers = zip(*self._clips, strict=True) if self._clips else ((), (), ())
        return Sidecar(
            offsets=offsets, sizes=sizes, crcs=crcs, clips=keys, firsts=firsts, of_tracks=numbers,
            tracks=tuple(self._tracks), splits=tuple(split for _, split in self._tracks.values()),
        )  # fmt: skip


def _json(value: Json) -> bytes:
    text = json.dumps(
        value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return text.encode()


def _member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o444, 0
    return info


def _padded(size: int) -> int:
    return BLOCK + -(-size // BLOCK) * BLOCK

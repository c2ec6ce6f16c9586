"""Clips <-> WebDataset tars: a writer whose bytes depend on its input alone, a random reader.

A sample is `<key>.flac` and `<key>.json`, in that order, in a USTAR tar with every time, owner
and mode fixed. Beside `0003-00.tar` lies `0003-00.idx.json`, which says where each member's bytes
are, so that any clip is one seek away. `index.json` lists the shards of a whole corpus.
"""

import io
import json
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from storage.audio import Codec, Waveform, decode_window
from storage.errors import IntegrityError, ManifestError
from storage.files import arriving, hash_file, read_json, write_json
from storage.layout import shard_offsets
from storage.records import Record, ShardInfo

HEADER = tarfile.BLOCKSIZE


class ClipEntry(Record):
    """Where one clip lies."""

    key: str
    """As in `t000002_c0003`: track, and clip counted by its start."""
    shard: str
    track: str
    split: str
    offset: int
    """Of the audio's first byte in the tar."""
    bytes: int
    crc: int
    """Of the audio bytes (zlib crc32)."""


class ShardIndex(Record):
    """All shards of a corpus, as `index.json`."""

    sample_rate: int
    clip_frames: int
    codec: Codec
    shards: tuple[ShardInfo, ...]


class ShardWriter:
    """Writes samples to numbered tars, opening a new one before `max_bytes` is passed.

    Each tar arrives under its name only when it is whole; what is not, when the writer is left by
    an error, leaves nothing.
    """

    def __init__(self, path_of: Callable[[int], Path], max_bytes: int, codec: Codec) -> None:
        self._path_of = path_of
        self._max_bytes = max_bytes
        self._codec = codec
        self._entries: list[ClipEntry] = []
        self._offset = 0
        self._written: list[Path] = []
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

    def add(self, key: str, audio: bytes, info: dict[str, Any]) -> None:
        """Add one sample. `info` needs `track` and `split`; it becomes the sample's JSON."""
        note = json.dumps(info, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()
        size = _padded(len(audio)) + _padded(len(note))
        if self._tar and self._offset + size > self._max_bytes:
            self._finish()
        tar = self._tar or self._begin()
        self._entries.append(
            ClipEntry(
                key=key,
                shard=self._path_of(len(self._written)).name,
                track=info["track"],
                split=info["split"],
                offset=self._offset + HEADER,
                bytes=len(audio),
                crc=zlib.crc32(audio),
            )
        )
        for name, data in ((f"{key}.{self._codec}", audio), (f"{key}.json", note)):
            tar.addfile(_member(name, len(data)), io.BytesIO(data))
        self._offset += size

    def close(self) -> list[Path]:
        """Finish the last tar; return all in order. A writer given nothing writes no tar."""
        if self._tar:
            self._finish()
        return self._written

    def _begin(self) -> tarfile.TarFile:
        path = self._path_of(len(self._written))
        temporary = self._arrival.enter_context(arriving(path))
        self._tar = self._arrival.enter_context(
            tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115  entered here
        )
        return self._tar

    def _finish(self) -> None:
        path = self._path_of(len(self._written))
        self._arrival.close()
        write_json(shard_offsets(path), [entry.model_dump() for entry in self._entries])
        self._written.append(path)
        self._tar, self._entries, self._offset = None, [], 0


class ShardReader:
    """Random access to the clips of a corpus by its `index.json`."""

    def __init__(self, index: Path) -> None:
        self._folder = index.parent / "shards"
        self.index = ShardIndex.model_validate(read_json(index))
        self.entries = [entry for shard in self.index.shards for entry in self._entries_of(shard)]

    def read(self, entry: ClipEntry, start: int = 0, frames: int = -1) -> Waveform:
        """Return [channels, frames] of a clip, from frame `start` on.

        Raises:
            IntegrityError: the shard's bytes are not the ones that were written; it names them.
        """
        path = self._folder / entry.shard
        try:
            with path.open("rb") as stream:
                stream.seek(entry.offset)
                data = stream.read(entry.bytes)
        except OSError as error:
            raise IntegrityError(
                f"shard {path} cannot be read ({error.strerror}); run the study again to rebuild it"
            ) from error
        if zlib.crc32(data) != entry.crc:
            raise IntegrityError(
                f"clip {entry.key} in shard {path} is damaged; run the study again to rebuild it"
            )
        return decode_window(data, entry.key, start, frames)

    def _entries_of(self, shard: ShardInfo) -> Iterator[ClipEntry]:
        rows = read_json(shard_offsets(self._folder / shard.name))
        if len(rows) != shard.clips:
            raise ManifestError(
                f"shard {shard.name} lists {len(rows)} clips, but its index says {shard.clips}; "
                "run the study again to rebuild it"
            )
        return (ClipEntry.model_validate(row) for row in rows)


def describe(path: Path) -> ShardInfo:
    """Return what an index says of a finished shard."""
    return ShardInfo(
        name=path.name,
        bytes=path.stat().st_size,
        sha256=hash_file(path),
        clips=len(read_json(shard_offsets(path))),
    )


def _member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o444, 0
    return info


def _padded(size: int) -> int:
    return HEADER + -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE

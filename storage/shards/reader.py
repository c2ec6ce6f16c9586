"""Random access to the clips of a corpus: one contiguous read each, every sample's CRC checked.

Shards are in a folder or in a bucket. Those in a bucket are read from the local cache once they
are there, and by ranges until then or where they do not fit.
"""

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from storage.audio.waveforms import Waveform
from storage.audio.windows import decode_sample
from storage.errors import DecodeError, IntegrityError, ManifestError
from storage.files import read_json
from storage.home.layout import shard_offsets
from storage.records import ShardInfo
from storage.shards.cache import FetchAhead, ShardCache
from storage.shards.clip_table import Clip, ClipTable, Extent
from storage.shards.writer import ShardIndex
from storage.stores.base import FolderStore, Store

REMEDY = "run the study again to rebuild it"


class ShardReader:
    """The clips of a corpus by number, in the order of its `index.json`. Threads may share it.

    Attributes:
        index: what `index.json` says.
        clips: where each clip is, and from which track.
    """

    def __init__(
        self,
        index: Path,
        store: Store | None = None,
        folder: str = "shards",
        cache: ShardCache | None = None,
    ) -> None:
        """Open a corpus; every shard's presence and size, and every sidecar's bytes, are checked.

        Args:
            index: `index.json`, on this machine.
            store: what holds the shards; without one, the folder of the index.
            folder: of the shards in the store.
            cache: where shards of the store are kept on this machine.

        Raises:
            ManifestError: the index is missing or malformed, or a shard is missing.
            IntegrityError: a shard or its sidecar is not the one that the index lists.
        """
        self.index = _read_index(index)
        self._store: Store = store or FolderStore(index.parent)
        self._folder, self._cache = folder, cache
        self._require_shards()
        self.clips = ClipTable(self.index.shards, self.index.samples_per_clip, self._sidecar)
        self._ahead = FetchAhead(cache, self._store, self._name) if cache else None

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.clips)

    def clip(self, number: int) -> Clip:
        """Return a clip's names."""
        return self.clips.clip(number)

    def read(self, number: int, start: int = 0, frames: int = -1) -> Waveform:
        """Return [channels, frames] of a clip, from frame `start` on; -1 reads to its end.

        Only the samples that the window touches are read and decoded.

        Raises:
            IntegrityError: the shard's bytes are not the ones that were written; it names them.
            SourceError: the bucket does not answer.
        """
        each, whole = self.index.sample_frames, self.index.clip_frames
        stop = whole if frames < 0 else start + frames
        assert 0 <= start < stop <= whole, f"frames {start} to {stop} of a clip of {whole}"
        begin, end = start // each, -(-stop // each)
        shard = self.index.shards[self.clips.shard_of(number)]
        parts = []
        for position, audio in enumerate(self._samples(number, shard, begin, end), begin):
            first, last = max(start - position * each, 0), min(stop - position * each, each)
            parts.append(self._decode(audio, number, first, last))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def fetch_ahead(self, shards: Sequence[int]) -> bool:
        """Bring shards into the cache in the background, instead of what was wanted before.

        Shards that do not fit there together would push each other out: none is fetched then, and
        False returned.
        """
        if self._ahead is None or self._cache is None:
            return True
        wanted = [self.index.shards[number] for number in dict.fromkeys(shards)]
        if sum(shard.bytes for shard in wanted) > self._cache.limit:
            return False
        self._ahead.want(wanted)
        return True

    def close(self) -> None:
        """End the fetching."""
        if self._ahead is not None:
            self._ahead.close()

    def _samples(
        self, number: int, shard: ShardInfo, begin: int, end: int
    ) -> list[bytes | memoryview]:
        """Return the audio of some of a clip's samples, CRCs checked."""
        extents = self.clips.samples(number, begin, end)
        offset = extents[0].offset
        length = extents[-1].offset + extents[-1].size - offset
        if self._ahead is not None and self._cache is not None:
            self._ahead.check()
            data = self._cache.read(shard, offset, length)
            if data is not None:
                audio = _cut(data, extents)
                if audio is not None:
                    return audio
                self._cache.discard(shard)
        audio = _cut(self._range(number, shard, offset, length), extents)
        if audio is None:
            raise IntegrityError(
                f"clip {self.clip(number).key} in shard {self._where(shard)} is damaged; {REMEDY}"
            )
        return audio

    def _range(self, number: int, shard: ShardInfo, offset: int, length: int) -> bytes:
        try:
            return self._store.read(self._name(shard), offset, length)
        except (ManifestError, IntegrityError, OSError) as error:
            raise IntegrityError(
                f"clip {self.clip(number).key} in shard {self._where(shard)} cannot be read "
                f"({error}); {REMEDY}"
            ) from error

    def _decode(self, audio: "bytes | memoryview", number: int, first: int, last: int) -> Waveform:
        try:
            return decode_sample(audio, self.index, first, last)
        except DecodeError as error:
            clip = self.clip(number)
            raise IntegrityError(
                f"clip {clip.key} in shard {clip.shard} is not as the index says ({error}); "
                f"{REMEDY}"
            ) from error

    def _require_shards(self) -> None:
        found = self._store.listing(self._folder)
        for shard in self.index.shards:
            seen = found.get(self._name(shard))
            if seen is None:
                raise ManifestError(f"shard {self._where(shard)} is missing; {REMEDY}")
            if seen.bytes != shard.bytes:
                raise IntegrityError(
                    f"shard {self._where(shard)} has {seen.bytes} bytes, not {shard.bytes} as the "
                    f"index says; {REMEDY}"
                )

    def _sidecar(self, shard: ShardInfo) -> bytes:
        return self._store.read(shard_offsets(Path(self._name(shard))).as_posix())

    def _name(self, shard: ShardInfo) -> str:
        return f"{self._folder}/{shard.name}"

    def _where(self, shard: ShardInfo) -> str:
        return f"{self._store.url}/{self._name(shard)}"


def _read_index(path: Path) -> ShardIndex:
    try:
        return ShardIndex.model_validate(read_json(path))
    except ValidationError as error:
        raise ManifestError(
            f"{path} is no index of shards ({error.errors()[0]['msg']}); {REMEDY}"
        ) from error


def _cut(data: bytes, extents: Sequence[Extent]) -> list[bytes | memoryview] | None:
    """Return each sample's audio of a contiguous read; None if one has another CRC."""
    if len(extents) == 1:
        return [data] if zlib.crc32(data) == extents[0].crc else None
    view, begin = memoryview(data), extents[0].offset
    parts: list[bytes | memoryview] = []
    for extent in extents:
        part = view[extent.offset - begin : extent.offset - begin + extent.size]
        if zlib.crc32(part) != extent.crc:
            return None
        parts.append(part)
    return parts

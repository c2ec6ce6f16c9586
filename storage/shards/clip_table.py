"""Every clip of a corpus and where it is stored, in arrays: about 35 bytes per clip.

Rows of Python objects would take gigabytes for the six million clips of a large archive, in every
process of a job.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from storage.errors import IntegrityError, ManifestError
from storage.records import ShardInfo
from storage.shards.writer import BLOCK, Sidecar

AT_ONCE = 16
"""Sidecars that are fetched side by side: a bucket answers each after a while."""


class Clip(NamedTuple):
    """One clip, as people name it."""

    key: str
    """As in `t000002_c0003`: track, and clip counted by its start."""
    track: str
    split: str
    shard: str
    """Name of its tar."""


class Extent(NamedTuple):
    """Where one sample's audio is in its shard."""

    offset: int
    size: int
    crc: int


class _Columns(NamedTuple):
    """A parsed sidecar, its numbers packed."""

    blocks: npt.NDArray[np.uint32]
    sizes: npt.NDArray[np.uint32]
    crcs: npt.NDArray[np.uint32]
    firsts: npt.NDArray[np.uint32]
    of_tracks: npt.NDArray[np.uint32]
    keys: bytes
    tracks: tuple[str, ...]
    splits: tuple[str, ...]


class ClipTable:
    """Clips and samples by number, in the order of the index.

    Attributes:
        tracks: [clips], the number of each clip's track.
        shard_starts: [shards + 1], the number of each shard's first clip, and of all clips.
        track_names, track_splits: name and split of each track by its number.
    """

    def __init__(
        self,
        shards: Sequence[ShardInfo],
        samples_per_clip: int,
        sidecar: Callable[[ShardInfo], bytes],
    ) -> None:
        """Read all sidecars.

        Args:
            shards: of the index.
            samples_per_clip: of the index.
            sidecar: gives the bytes of a shard's sidecar; called from several threads.

        Raises:
            IntegrityError, ManifestError: a sidecar is not the one that the index lists.
        """
        self._shards = tuple(shards)
        self.shard_starts = [0, *accumulate(shard.clips for shard in shards)]
        sample_starts = [0, *accumulate(shard.samples for shard in shards)]
        self.tracks = np.empty(self.shard_starts[-1], np.uint32)
        self._firsts = np.empty(self.shard_starts[-1], np.uint32)
        self._blocks, self._sizes, self._crcs = np.empty((3, sample_starts[-1]), np.uint32)
        self._keys: list[bytes] = []
        self._numbers: dict[str, int] = {}
        self.track_splits: list[str] = []

        def load(shard: ShardInfo) -> _Columns:
            return _columns(shard, samples_per_clip, sidecar(shard))

        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sidecars") as pool:
            for number, columns in enumerate(pool.map(load, shards)):
                clips = slice(*self.shard_starts[number : number + 2])
                samples = slice(*sample_starts[number : number + 2])
                self._blocks[samples] = columns.blocks
                self._sizes[samples] = columns.sizes
                self._crcs[samples] = columns.crcs
                self._firsts[clips] = columns.firsts + np.uint32(samples.start)
                self.tracks[clips] = self._number(shards[number], columns)[columns.of_tracks]
                self._keys.append(columns.keys)
        self.track_names = list(self._numbers)

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.tracks)

    def shard_of(self, clip: int) -> int:
        """Return the number of the shard that holds a clip."""
        return bisect_right(self.shard_starts, clip) - 1

    def samples(self, clip: int, begin: int, stop: int) -> list[Extent]:
        """Return where some of a clip's samples lie, counted from the clip's first."""
        first = int(self._firsts[clip])
        return [
            Extent(
                int(self._blocks[sample]) * BLOCK,
                int(self._sizes[sample]),
                int(self._crcs[sample]),
            )
            for sample in range(first + begin, first + stop)
        ]

    def clip(self, clip: int) -> Clip:
        """Return one clip by name."""
        shard, track = self.shard_of(clip), int(self.tracks[clip])
        key = self._keys[shard].split()[clip - self.shard_starts[shard]].decode()
        return Clip(
            key, self.track_names[track], self.track_splits[track], self._shards[shard].name
        )

    def _number(self, shard: ShardInfo, columns: _Columns) -> npt.NDArray[np.uint32]:
        """Return the number of each of a shard's tracks; a track may be in several shards."""
        numbers = []
        for track, split in zip(columns.tracks, columns.splits, strict=True):
            number = self._numbers.setdefault(track, len(self._numbers))
            if number == len(self.track_splits):
                self.track_splits.append(split)
            elif self.track_splits[number] != split:
                raise ManifestError(
                    f"shard {shard.name} puts track {track} into the {split} split, another shard "
                    f"into {self.track_splits[number]}; run the study again to rebuild it"
                )
            numbers.append(number)
        return np.array(numbers, np.uint32)


def _columns(shard: ShardInfo, samples_per_clip: int, data: bytes) -> _Columns:
    """Parse one sidecar, compared with what the index says of it and of its shard."""
    if (len(data), hashlib.sha256(data).hexdigest()) != (shard.sidecar_bytes, shard.sidecar_sha256):
        raise IntegrityError(
            f"the sidecar of shard {shard.name} ({len(data)} bytes) is not the one of "
            f"{shard.sidecar_bytes} bytes that the index lists; run the study again to rebuild it"
        )
    sidecar = Sidecar.parse(data, shard.name)
    if (len(sidecar.clips), len(sidecar.offsets)) != (shard.clips, shard.samples):
        raise ManifestError(
            f"the sidecar of shard {shard.name} lists {len(sidecar.clips)} clips and "
            f"{len(sidecar.offsets)} samples, but the index says {shard.clips} and "
            f"{shard.samples}; run the study again to rebuild it"
        )
    end = sidecar.offsets[-1] + sidecar.sizes[-1] if sidecar.offsets else 0
    behind = max(sidecar.firsts) + samples_per_clip if sidecar.firsts else 0
    if end > shard.bytes or behind > shard.samples:
        raise ManifestError(
            f"the sidecar of shard {shard.name} speaks of sound beyond the shard's "
            f"{shard.samples} samples; run the study again to rebuild it"
        )
    return _Columns(
        # A tar's samples begin at whole blocks: counted in these, 32 bits reach 2 TB.
        blocks=(np.array(sidecar.offsets, np.int64) // BLOCK).astype(np.uint32),
        sizes=np.array(sidecar.sizes, np.uint32),
        crcs=np.array(sidecar.crcs, np.uint32),
        firsts=np.array(sidecar.firsts, np.uint32),
        of_tracks=np.array(sidecar.of_tracks, np.uint32),
        keys="\n".join(sidecar.clips).encode(),
        tracks=sidecar.tracks,
        splits=sidecar.splits,
    )

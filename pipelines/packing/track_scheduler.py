"""A unit's tracks, given to a child process one by one, and where it staged their samples."""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pipelines.archives.sources import Fetcher, Source
from pipelines.archives.zip_archive import still_lists
from pipelines.config import FmaConfig
from pipelines.packing.filters import PLANNED, judge
from pipelines.packing.prefetch import prefetched
from pipelines.packing.process_track import (
    TrackResult,
    TrackTask,
    filtered,
    ledger_start,
    quarantined,
)
from pipelines.packing.staging_file import Group
from pipelines.tracks.plan import shuffled
from pipelines.workers.disk_room import DiskRoom
from pipelines.workers.isolation import Isolated
from storage.errors import LostError, SourceError
from storage.records import LedgerRow, Track
from storage.shards.writer import Sample


class Tracked(NamedTuple):
    """A group of samples, and the track it comes from."""

    track: Track
    group: Group


class TrackScheduler:
    """Gives a unit's tracks to the child one by one; remembers where it staged their samples."""

    def __init__(
        self,
        config: FmaConfig,
        child: Isolated[TrackTask, TrackResult],
        staging: int,
        room: DiskRoom,
    ) -> None:
        self._config, self._child = config, child
        self._staging, self._room = staging, room
        self._scratch = room.folder
        self._end = 0
        self._groups: dict[str, Tracked] = {}
        """By the key of their first sample."""

    def process(self, tracks: Sequence[Track], fetcher: Fetcher) -> list[LedgerRow]:
        """Process each track; return their ledger rows, in the same order."""
        rows: dict[str, LedgerRow] = {}
        for track in tracks:
            if rejection := judge(PLANNED, track, self._config):
                rows[track.id] = filtered(ledger_start(track), rejection)
        wanted = [track for track in tracks if track.id not in rows]
        with closing(prefetched(fetcher, wanted, self._scratch)) as arrivals:
            for track, extent in arrivals:
                self._room.look()
                task = TrackTask(
                    track, extent, self._config, self._address, self._end, self._scratch
                )
                rows[track.id] = self._process(task, fetcher.source)
        return [rows[track.id] for track in tracks]

    def shuffled(self) -> Iterator[Tracked]:
        """Yield all groups in the unit's order, which mixes its tracks."""
        for key in shuffled(list(self._groups), self._config.seed):
            yield self._groups[key]

    def samples(self, group: Group) -> list[Sample]:
        """Return a group's samples; their bytes are read when the shard is written."""
        return [
            Sample(
                extent.key,
                extent.info,
                extent.bytes,
                partial(self._read, extent.offset, extent.bytes),
            )
            for extent in group.samples
        ]

    @property
    def _address(self) -> Path:
        """Where the child opens the staging file, which has no name."""
        return Path(f"/proc/{os.getpid()}/fd/{self._staging}")

    def _process(self, task: TrackTask, source: Source) -> LedgerRow:
        try:
            result = self._child.call(task, self._config.timeout_seconds)
        except LostError as error:
            return quarantined(ledger_start(task.track), error.reason, str(error))
        except SourceError as error:
            if not still_lists(source, task.track):
                raise
            # The archive is the one that was planned: this member's header is damaged.
            return quarantined(ledger_start(task.track), "crc_mismatch", str(error))
        self._end = result.end
        for group in result.groups:
            self._groups[group.samples[0].key] = Tracked(task.track, group)
        return result.row

    def _read(self, offset: int, size: int) -> bytes:
        return os.pread(self._staging, size, offset)

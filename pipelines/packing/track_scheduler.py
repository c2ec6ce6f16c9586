"""A unit's tracks, handed to a child process one by one, and the account of what it puts aside."""

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
from pipelines.packing.process_track import TrackResult, TrackTask, filtered, opening, quarantined
from pipelines.packing.staging_file import Group
from pipelines.tracks.plan import shuffled
from pipelines.workers.isolation import Isolated
from storage.errors import LostError, SourceError
from storage.records import LedgerRow, Track
from storage.shards.writer import Sample


class Tracked(NamedTuple):
    """A group of samples, and whose they are."""

    track: Track
    group: Group


class TrackScheduler:
    """Hands a unit's tracks to the child, one by one, and keeps account of what it puts aside."""

    def __init__(
        self, config: FmaConfig, child: Isolated[TrackTask, TrackResult], spool: int, scratch: Path
    ) -> None:
        self._config, self._child = config, child
        self._spool, self._scratch = spool, scratch
        self._end = 0
        self._groups: dict[str, Tracked] = {}
        """By the key of their first sample."""

    def account(self, tracks: Sequence[Track], fetcher: Fetcher) -> list[LedgerRow]:
        """Return what became of each track, in their order."""
        rows: dict[str, LedgerRow] = {}
        for track in tracks:
            if rejection := judge(PLANNED, track, self._config):
                rows[track.id] = filtered(opening(track), rejection)
        wanted = [track for track in tracks if track.id not in rows]
        with closing(prefetched(fetcher, wanted, self._scratch)) as arrivals:
            for track, extent in arrivals:
                order = TrackTask(
                    track, extent, self._config, self._address, self._end, self._scratch
                )
                rows[track.id] = self._take(order, fetcher.source)
        return [rows[track.id] for track in tracks]

    def shuffled(self) -> Iterator[Tracked]:
        """Yield all groups in the unit's order, which mixes its tracks."""
        for key in shuffled(list(self._groups), self._config.seed):
            yield self._groups[key]

    def samples(self, group: Group) -> list[Sample]:
        """Return a group's samples, to be read when they are written."""
        return [
            Sample(
                place.key, place.info, place.bytes, partial(self._read, place.offset, place.bytes)
            )
            for place in group.samples
        ]

    @property
    def _address(self) -> Path:
        """Where the child opens the spool, which has no name."""
        return Path(f"/proc/{os.getpid()}/fd/{self._spool}")

    def _take(self, order: TrackTask, source: Source) -> LedgerRow:
        try:
            taken = self._child.call(order, self._config.timeout_seconds)
        except LostError as error:
            return quarantined(opening(order.track), error.reason, str(error))
        except SourceError as error:
            if not still_lists(source, order.track):
                raise
            # The archive is the one that was planned: this member's header is damaged.
            return quarantined(opening(order.track), "crc_mismatch", str(error))
        self._end = taken.end
        for group in taken.groups:
            self._groups[group.samples[0].key] = Tracked(order.track, group)
        return taken.row

    def _read(self, offset: int, size: int) -> bytes:
        return os.pread(self._spool, size, offset)

"""One unit end to end: fetch and process every track, shard, account for each, mark as done.

The same unit gives the same bytes, wherever and whenever it is packed, and however often that is
interrupted.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from pipelines.archives.sources import Fetcher, Source
from pipelines.config import FmaConfig
from pipelines.packing.clips import piece_seconds
from pipelines.packing.process_track import TrackResult, TrackTask, process_track
from pipelines.packing.track_scheduler import TrackScheduler
from pipelines.packing.unit_work import COPIES, LEDGER, SHARD, PackingPool, PackRequest
from pipelines.workers.fan_out import cores
from pipelines.workers.isolation import Isolated
from pipelines.workers.work_pool import WorkPool
from storage.config import Json
from storage.errors import ConfigError
from storage.files import disk_errors, remove_arriving
from storage.home.failures import recording_failure
from storage.home.layout import Corpus, shard_offsets
from storage.home.marks import Mark, commit, lookup
from storage.home.open import open_home
from storage.manifests import write_rows
from storage.records import LedgerRow, Unit
from storage.shards.writer import ShardWriter, Written
from storage.tally import Tally

ProcessTrack = Callable[[TrackTask], TrackResult]
Child = Isolated[TrackTask, TrackResult]
"""The child process that decodes; it processes one track at a time."""
OnDone = Callable[[Mark], None]


def pack_units(
    requests: Sequence[PackRequest],
    workers: int = 0,
    on_done: OnDone | None = None,
    process: ProcessTrack = process_track,
) -> list[Mark]:
    """Pack units side by side; return their marks in the requests' order.

    Each of `workers` threads (0: one per core) packs one unit at a time and leaves decoding to a
    child process of its own. `on_done` is called here with each unit's mark as it comes. A failing
    unit does not keep the others from being done; the first one's failure is raised when they are.

    Raises:
        StemworksError: as `pack_unit`.
    """
    if not requests:
        return []
    count = min(workers or cores(), len(requests))
    with packing_pool(count, process) as pool, pool.turn() as turn:
        return turn.do(requests, on_done)


def pack_unit(request: PackRequest, process: ProcessTrack = process_track) -> Mark:
    """Pack one unit, unless it is done already, and return its completion mark.

    Raises:
        LockedError: another process is packing this unit.
        SourceError: the archive is missing, not delivered, or not the one that was planned.
        MachineError: the disk is full or forbidden.
        ConfigError: the configuration contradicts itself.
    """
    with (
        Fetcher(request.source, request.config.connections) as fetcher,
        Isolated(process, request.config.memory_mb) as child,
    ):
        return _pack_once(request, fetcher, child)


@contextmanager
def packing_pool(workers: int = 0, process: ProcessTrack = process_track) -> Iterator[PackingPool]:
    """Open a pool of packing threads (0: one per core), to which callers bring units in turn."""
    fetchers = _Fetchers()
    pool: PackingPool = WorkPool(
        workers or cores(),
        lambda request: _Packer(process, request.config.memory_mb, fetchers),
        lambda request: request.size,
        fetchers.close,
    )
    with closing(fetchers), pool:
        yield pool


class _Fetchers:
    """One fetcher for each source, shared by all packing threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Source, Fetcher] = {}

    def of(self, request: PackRequest) -> Fetcher:
        with self._lock:
            if request.source not in self._open:
                self._open[request.source] = Fetcher(request.source, request.config.connections)
            return self._open[request.source]

    def close(self) -> None:
        """Close all connections: threads that wait for a server fail soon."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()


class _Packer:
    """A packing thread's child process, which may use so much memory."""

    def __init__(self, process: ProcessTrack, memory_mb: int, fetchers: _Fetchers) -> None:
        self._child: Child = Isolated(process, memory_mb)
        self._memory_mb, self._fetchers = memory_mb, fetchers
        self._stopped = False

    def fits(self, request: PackRequest) -> bool:
        return not self._stopped and request.config.memory_mb == self._memory_mb

    def do(self, request: PackRequest) -> Mark:
        return _pack_once(request, self._fetchers.of(request), self._child)

    def stop(self) -> None:
        self._stopped = True
        self._child.stop()

    def close(self) -> None:
        self._child.close()


def _pack_once(request: PackRequest, fetcher: Fetcher, child: Child) -> Mark:
    home, work = open_home(request.home), request.work
    if done := lookup(home, work).mark:
        return done
    with home.alone(work.name, f"packing unit {request.unit.id}"):
        if done := lookup(home, work).mark:
            return done
        corpus = Corpus(home.path(request.corpus))
        _clear_remains(corpus, request.unit)
        started, spent = time.monotonic(), child.cpu_seconds + time.thread_time()
        with (
            request.room(corpus.root).taken(COPIES * request.expected_bytes),
            recording_failure(home, work),
        ):
            rows, written = _pack(request, corpus, fetcher, child)
            facts = _facts(request, rows, written) | {
                "cpu_seconds": round(child.cpu_seconds + time.thread_time() - spent, 3),
                "peak_mb": child.peak_bytes >> 20,
            }
            outputs = _outputs(corpus, request.unit, written)
            mark = commit(home, work, outputs, facts, time.monotonic() - started)
        for path in outputs.values():
            home.release(path)
        return mark


def _pack(
    request: PackRequest, corpus: Corpus, fetcher: Fetcher, child: Child
) -> tuple[list[LedgerRow], list[Written]]:
    """Write a unit's shards and ledger; return its rows and tars."""
    unit, shards = request.unit, request.config.shards
    per_clip = samples_per_clip(request.config)
    with disk_errors(corpus.root):
        corpus.shards.mkdir(parents=True, exist_ok=True)
        # A file without a name: no crash leaves it behind.
        with (
            tempfile.TemporaryFile(dir=corpus.root) as staging,
            ShardWriter(
                partial(corpus.shard, unit.id), shards.max_bytes, shards.codec, per_clip
            ) as writer,
        ):
            room = request.room(corpus.root)
            scheduler = TrackScheduler(request.config, child, staging.fileno(), room)
            rows = scheduler.process(unit.tracks, fetcher)
            for track, group in scheduler.shuffled():
                room.look()
                writer.add(track.id, track.split, scheduler.samples(group), group.clips)
            written = writer.close()
    assert [row.track for row in rows] == [track.id for track in unit.tracks]
    assert sum(row.clips for row in rows) == sum(shard.clips for shard in written)
    write_rows(corpus.ledger(unit.id), rows)
    return rows, written


def samples_per_clip(config: FmaConfig) -> int:
    """Return how many samples make a clip.

    Raises:
        ConfigError: hops do not divide clips, so that they share no samples.
    """
    if config.shards.storage == "clips":
        return 1
    if piece_seconds(config.clips) != config.clips.hop_seconds:
        raise ConfigError(
            f"shards.storage=segments stores samples of one hop, but clips of "
            f"{config.clips.seconds} s are no multiple of {config.clips.hop_seconds} s; choose a "
            "clips.hop_seconds that divides clips.seconds, or shards.storage=clips"
        )
    return config.clips.seconds // config.clips.hop_seconds


def _outputs(corpus: Corpus, unit: Unit, written: Sequence[Written]) -> dict[str, Path]:
    outputs = {LEDGER: corpus.ledger(unit.id)}
    for number, shard in enumerate(written):
        outputs[f"{SHARD}{number:04d}"] = shard.path
        outputs[f"offsets-{number:04d}"] = shard_offsets(shard.path)
    return outputs


def _facts(request: PackRequest, rows: Sequence[LedgerRow], written: Sequence[Written]) -> Json:
    read = {row.track for row in rows if row.reason not in ("licence", "duplicate")}
    stored = [
        track.packed_bytes or track.bytes for track in request.unit.tracks if track.id in read
    ]
    return {
        "tracks": len(rows),
        **Tally.of(rows).as_facts(),
        "clips": sum(row.clips for row in rows),
        "hours": round(sum(row.kept_seconds for row in rows) / 3600, 6),
        "shards": [{"clips": shard.clips, "samples": shard.samples} for shard in written],
        "bytes_in": sum(stored),
        "seconds_in": round(sum(row.seconds for row in rows), 3),
    }


def _clear_remains(corpus: Corpus, unit: Unit) -> None:
    """Remove what a killed attempt left half written or half fetched."""
    for path in [corpus.shard(unit.id, 0), corpus.ledger(unit.id)]:
        remove_arriving(path.parent, f"{unit.id}[-.]*")
    for track in unit.tracks:
        remove_arriving(corpus.root, track.id)

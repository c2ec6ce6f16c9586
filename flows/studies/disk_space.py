"""What a run still writes, against what is free: a run that cannot end does not begin.

How large shards become is an estimate until this home's own units say it; what a bucket may hold
cannot be asked for. Packing itself watches the disk as it goes (`pipelines/workers/disk_room.py`).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from flows.stage_id import PackId
from flows.stages.archives import DOWNLOAD, RemoteConfig
from flows.studies.estimates import archive_bytes, packing_rates
from flows.studies.runner import StageStatus
from pipelines.config import FmaConfig
from pipelines.packing.unit_work import COPIES, LOSSLESS
from pipelines.workers.fan_out import cores
from storage.files import free_bytes, nearest
from storage.home.layout import Home
from storage.home.marks import Mark
from training.config import TrainConfig
from training.data.clips.config import ClipsData

GIGABYTE = 1e9
HALVED = "with --set fma.shards.storage=segments shards take half as much"
ANYWAY = "--set limits.short_of_disk=begin begins, and stops before the disk is full"


class Need(NamedTuple):
    """What one part of a run still writes to a disk of this machine."""

    folder: Path
    bytes: int
    what: str
    reserve: int = 0
    """Bytes that stay free beside it."""


class Disk(NamedTuple):
    """One disk, and all that a run still writes to it."""

    folder: str
    needed: int
    free: int
    reserve: int
    what: str

    @property
    def lacking(self) -> int:
        """Bytes that are not free, but would have to be; 0 if there is room."""
        return max(0, self.needed + self.reserve - self.free) if self.needed else 0

    def __str__(self) -> str:
        kept = f", of which {_gb(self.reserve)} stay free" if self.reserve else ""
        return (
            f"{self.what} will write about {_gb(self.needed)} under {self.folder}, but "
            f"{_gb(self.free)} are free there{kept}: about {_gb(self.lacking)} are lacking; free "
            f"them or use another --home ({HALVED}), or begin all the same: {ANYWAY}"
        )


def needs(home: Home, statuses: Sequence[StageStatus]) -> list[Need]:
    """Return what those stages still write that are not done, as far as it is known."""
    found: list[Need] = []
    for status in statuses:
        config = status.config
        if status.state == "done":
            continue
        if isinstance(config, FmaConfig) and status.id == PackId.whole():
            found.append(_of_status(home, status, config))
        elif isinstance(config, RemoteConfig) and status.stage is DOWNLOAD:
            found.append(_download(config))
        elif isinstance(config, TrainConfig) and isinstance(config.data, ClipsData):
            found += _cache(home, config.data, _in_bucket(statuses))
    return found


def packing_need(home: Home, config: FmaConfig, left: Sequence[int], done: Sequence[Mark]) -> Need:
    """Return what the packing of units still writes here.

    A unit is on the disk twice while it is packed. What goes to a bucket does not stay here.

    Args:
        home: where they are packed.
        config: how.
        left: bytes to read of each unit that is not packed.
        done: marks of those that are.
    """
    in_hand = sum(sorted(left, reverse=True)[: config.workers or cores()])
    read = COPIES * in_hand if home.remote else sum(left) + (COPIES - 1) * in_hand
    reserve = round(config.disk_reserve_gb * GIGABYTE)
    return Need(home.root, round(read * _written(config, done)), "packing", reserve)


def disks(wanted: Iterable[Need]) -> list[Disk]:
    """Add up what is written to each disk, and look how much is free."""
    of_disk: dict[int, list[Need]] = {}
    for need in wanted:
        of_disk.setdefault(nearest(need.folder).stat().st_dev, []).append(need)
    return [
        Disk(
            folder=str(given[0].folder),
            needed=sum(need.bytes for need in given),
            free=free_bytes(given[0].folder),
            reserve=max(need.reserve for need in given),
            what=" and ".join(dict.fromkeys(need.what for need in given if need.bytes)),
        )
        for given in of_disk.values()
    ]


def shortage(wanted: Iterable[Need]) -> str:
    """Say which disks have no room, how much is lacking, and what to do; empty if all have."""
    return "; ".join(str(disk) for disk in disks(wanted) if disk.lacking)


def _of_status(home: Home, status: StageStatus, config: FmaConfig) -> Need:
    done = [unit.mark for unit in status.units if unit.mark]
    if status.units:
        return packing_need(home, config, [one.size for one in status.units if not one.mark], done)
    # There is no plan yet, which would say how large units are.
    whole = packing_need(home, config, [], done)
    size = 0 if home.remote else archive_bytes(config.archive, status.archive)
    return whole._replace(bytes=round(size * _written(config, done)))


def _written(config: FmaConfig, done: Sequence[Mark]) -> float:
    """Return bytes of shards for a byte that is read.

    Of a folder, whose files may be compressed less than MP3, as little as is possible.
    """
    rate = packing_rates(done, config.shards).written
    unknown = config.source == "folder" and not done
    return rate * min(LOSSLESS.values()) if unknown else rate


def _download(config: RemoteConfig) -> Need:
    archive = config.archive
    folder = Path(config.root)
    there = sum(
        path.stat().st_blocks * 512
        for path in nearest(folder).iterdir()
        if path.name.startswith(archive.name) and path.is_file()
    )
    size = max(0, (archive.bytes or archive_bytes(archive.name)) - there)
    return Need(folder, size, f"downloading {archive.name}")


def _cache(home: Home, data: ClipsData, shards: int) -> list[Need]:
    """Return what the cache of a bucket's shards may still take; `shards` are bytes of them all."""
    if not home.remote or not data.cache_gb:
        return []
    folder = Path(data.cache).expanduser() if data.cache else home.cache
    held = sum(path.stat().st_size for path in folder.glob("[0-9a-f]*") if path.is_file())
    return [Need(folder, max(0, min(round(data.cache_gb * GIGABYTE), shards) - held), "its cache")]


def _in_bucket(statuses: Sequence[StageStatus]) -> int:
    """Return how large all shards will be, those included that are packed already."""
    total = 0.0
    for status in statuses:
        if isinstance(status.config, FmaConfig) and status.id == PackId.whole():
            done = [unit.mark for unit in status.units if unit.mark]
            left = sum(unit.size for unit in status.units if not unit.mark)
            if not status.units:
                left = archive_bytes(status.config.archive, status.archive)
            total += sum(mark.size for mark in done) + left * _written(status.config, done)
    return round(total)


def _gb(size: int) -> str:
    return f"{size / GIGABYTE:,.2f} GB"

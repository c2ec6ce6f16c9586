"""Every write of this room on a disk that is really full: a clear error, then the same bytes."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.errors import LockedError, MachineError
from storage.files import arriving, hash_file, only_one, write_bytes, write_json
from storage.home.failures import last_failure, recording_failure
from storage.home.layout import Home
from storage.home.marks import Work, commit, lookup
from storage.home.mirror import Mirror
from storage.manifests import write_rows
from storage.records import LedgerRow, ShardInfo
from storage.shards.cache import ShardCache
from storage.shards.writer import ClipStart, Sample, ShardWriter
from storage.stores.base import FolderStore
from tests.small_disk import PAGE, on_small_disks, small_disk, survives

MB = 1 << 20


def shards(folder: Path) -> None:
    """Three tars with their sidecars."""
    with ShardWriter(lambda n: folder / f"{n}.tar", 200_000, "flac") as writer:
        for number in range(12):
            sample = Sample.of(f"t{number}", bytes([number]) * 40_000, {"n": number})
            writer.add(f"{number}", "training", [sample], [ClipStart(f"t{number}", 0)])
        assert len(writer.close()) == 3


def rows(folder: Path) -> None:
    found = [LedgerRow(track=f"{n:06d}", outcome="kept", detail="x" * 500) for n in range(100)]
    write_rows(folder / "units" / "0000.jsonl", found)


def small_files(folder: Path) -> None:
    write_json(folder / "a" / "index.json", {"n": list(range(5000))})
    write_bytes(folder / "b" / "mark.json", b"m" * 30_000)


def copied(folder: Path) -> None:
    """A large file through `arriving`, written in blocks."""
    with arriving(folder / "large") as temporary, temporary.open("wb") as stream:
        for number in range(20):
            stream.write(bytes([number]) * 20_000)


@pytest.mark.parametrize("work", [shards, rows, small_files, copied])
@on_small_disks
def test_writers_survive_a_full_disk(tmp_path: Path, work: Callable[[Path], object]) -> None:
    with small_disk(tmp_path / "disk", 16 * MB) as disk:
        assert len(survives(disk, work)) >= 4


@on_small_disks
def test_marks_are_there_only_when_they_could_be_written(tmp_path: Path) -> None:
    work = Work("pack", 1, {"note": "x" * 9000}, {})
    with small_disk(tmp_path / "disk", 4 * MB) as disk:
        home = Home(disk.root / "home")
        write_bytes(home.root / "made", b"made")
        for room in range(0, 8 * PAGE, PAGE):
            disk.leave(room)
            with pytest.raises(MachineError, match=r"cannot write .*no space is left; free some"):
                commit(home, work, {"made": home.root / "made"}, {"fact": "y" * 40_000}, 0.0)
            assert lookup(home, work).mark is None
        disk.free()
        mark = commit(home, work, {"made": home.root / "made"}, {"fact": "y" * 40_000}, 0.0)
        assert lookup(home, work).mark == mark


@on_small_disks
def test_a_note_of_failure_never_hides_the_failure(tmp_path: Path) -> None:
    work = Work("pack", 1, {}, {})
    with small_disk(tmp_path / "disk", 4 * MB) as disk:
        home = Home(disk.root / "home")
        for room, note in ((0, ""), (1 * MB, "no disk of its own")):
            disk.leave(room)
            with (
                pytest.raises(MachineError, match="no disk of its own"),
                recording_failure(home, work),
            ):
                raise MachineError("no disk of its own")
            assert last_failure(home, work) == note


@on_small_disks
def test_a_lock_is_held_whether_or_not_its_holder_can_be_told(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4 * MB) as disk:
        path = disk.root / "a.lock"
        path.touch()
        disk.leave(0)
        with only_one(path, "packing"):
            assert path.read_text() == ""
            with pytest.raises(LockedError, match="unknown pid"), only_one(path, "packing"):
                pass
        disk.free()
        with only_one(path, "packing"):
            assert path.read_text() == f"pid {os.getpid()}"


class Bucket:
    """A store elsewhere that holds one shard and two files of a run."""

    def __init__(self, root: Path) -> None:
        self.store = FolderStore(root / "bucket")
        for name, size in (("0000-00.tar", 300_000), ("runs/a/log.txt", 50_000)):
            write_bytes(root / "bucket" / name, bytes(range(250)) * (size // 250))
        write_bytes(root / "bucket" / "runs/a/weights", b"w" * 100_000)
        path = root / "bucket" / "0000-00.tar"
        self.shard = ShardInfo(
            name=path.name, bytes=300_000, sha256=hash_file(path), clips=1, samples=1,
            sidecar_bytes=0, sidecar_sha256="",
        )  # fmt: skip

    def cached(self, folder: Path) -> None:
        cache = ShardCache(folder / "cache", 10 * MB)
        assert cache.fetch(self.shard, self.store, "0000-00.tar")

    def fetched(self, folder: Path) -> None:
        home = Home(folder, self.store)
        home.fetch(folder / "0000-00.tar", self.shard.sha256)

    def pulled(self, folder: Path) -> None:
        Mirror(Home(folder, self.store), folder / "runs" / "a").pull()


@pytest.mark.parametrize("way", ["cached", "fetched", "pulled"])
@on_small_disks
def test_what_comes_from_a_bucket_survives_a_full_disk(tmp_path: Path, way: str) -> None:
    bucket = Bucket(tmp_path)
    with small_disk(tmp_path / "disk", 16 * MB) as disk:
        assert len(survives(disk, getattr(bucket, way))) >= 4

"""The cache of shards: fetched once per host, verified, bounded, and never trusted blindly."""

import fcntl
import hashlib
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import IntegrityError, MachineError, ManifestError
from storage.files import only_one
from storage.records import ShardInfo
from storage.shards.cache import FetchAhead, ShardCache
from storage.shards.reader import ShardReader
from storage.stores.base import FolderStore
from tests.shards import Form, write_corpus
from tests.synthesised import tune

RATE, CLIP = 8_000, 1_600
CORPUS = "fma/0a1b"
SHARDS = f"{CORPUS}/shards"
SONGS = {f"{n:06d}": tune(0.6, 200.0 + n, RATE) for n in range(4)}


class Distant(FolderStore):
    """A store whose reads and downloads are counted."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.downloads: list[str] = []
        self.ranges = 0

    def get(self, name: str, path: Path, sha256: str = "") -> None:
        self.downloads.append(name)
        super().get(name, path, sha256)

    def read(self, name: str, start: int = 0, length: int = -1) -> bytes:
        self.ranges += length >= 0
        return super().read(name, start, length)


class Site:
    """A corpus in a distant store, and a cache of it."""

    def __init__(self, root: Path, limit: int = 10**9) -> None:
        self.index = write_corpus(
            root / "bucket" / CORPUS, SONGS, Form(RATE, CLIP, max_bytes=9_000)
        )
        self.store = Distant(root / "bucket")
        self.cache = ShardCache(root / "cache", limit)
        self.reader = ShardReader(self.index, self.store, SHARDS, self.cache)
        self.shards = self.reader.index.shards

    def name(self, shard: ShardInfo) -> str:
        return f"{SHARDS}/{shard.name}"

    def fetch(self, shard: ShardInfo) -> bool:
        return self.cache.fetch(shard, self.store, self.name(shard))

    def held(self) -> list[str]:
        return [shard.name for shard in self.shards if self.cache.holds(shard)]

    def bytes(self) -> int:
        return sum(path.stat().st_size for path in self.cache.folder.iterdir() if path.is_file())


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_shard_is_fetched_once_and_then_read_here(site: Site) -> None:
    plain = ShardReader(site.index)
    assert len(site.shards) >= 4
    first = site.shards[0]
    assert np.array_equal(site.reader.read(0), plain.read(0))
    assert (site.store.downloads, site.store.ranges) == ([], 1)
    assert site.fetch(first)
    assert site.fetch(first)
    assert np.array_equal(site.reader.read(0), plain.read(0))
    assert (site.store.downloads, site.store.ranges) == ([site.name(first)], 1)
    assert (site.cache.folder / first.sha256).read_bytes() == (
        site.store.root / site.name(first)
    ).read_bytes()


def test_what_is_fetched_ahead_is_there(site: Site) -> None:
    wanted = [2, 0, 3]
    site.reader.fetch_ahead(wanted)
    assert site.reader._ahead is not None
    site.reader._ahead.wait()
    assert sorted(site.store.downloads) == [site.name(site.shards[n]) for n in sorted(wanted)]
    site.reader.fetch_ahead(wanted)
    site.reader._ahead.wait()
    assert len(site.store.downloads) == 3
    site.reader.close()


def test_a_shard_that_is_damaged_in_the_store_never_appears(site: Site) -> None:
    shard = site.shards[1]
    path = site.store.root / site.name(shard)
    altered = bytearray(path.read_bytes())
    altered[5000] ^= 1
    path.write_bytes(altered)
    with pytest.raises(IntegrityError, match=r"shard .*0000-01\.tar in .* is damaged"):
        site.fetch(shard)
    assert not site.held()
    assert not list((site.cache.folder / "arriving").iterdir())


def test_damage_found_in_the_background_is_raised_where_clips_are_read(site: Site) -> None:
    (site.store.root / site.name(site.shards[1])).unlink()
    site.reader.fetch_ahead([1, 0])
    assert site.reader._ahead is not None
    site.reader._ahead.wait()
    with pytest.raises(ManifestError, match=r"0000-01\.tar is missing"):
        site.reader.read(0)
    site.reader.close()


@settings(max_examples=25, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True))
def test_a_damaged_file_in_the_cache_is_found_and_fetched_again(
    place: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    site = Site(tmp_path_factory.mktemp("site"))
    site.fetch(site.shards[0])
    sound = site.reader.read(0)
    extent = site.reader.clips.samples(0, 0, 1)[0]
    path = site.cache.folder / site.shards[0].sha256
    altered = bytearray(path.read_bytes())
    altered[extent.offset + int(place * extent.size)] ^= 255
    path.write_bytes(altered)
    assert np.array_equal(site.reader.read(0), sound)
    assert not path.exists()
    assert site.fetch(site.shards[0])
    assert np.array_equal(site.reader.read(0), sound)
    assert site.store.ranges == 1


def test_a_file_of_another_size_is_fetched_again_and_a_foreign_one_left_alone(site: Site) -> None:
    shard = site.shards[0]
    site.cache.folder.mkdir()
    (site.cache.folder / "0000-00.tar").write_bytes(b"mine")
    (site.cache.folder / shard.sha256).write_bytes(b"short")
    assert not site.cache.holds(shard)
    assert site.reader.read(0).shape == (2, CLIP)
    assert site.fetch(shard)
    assert site.cache.holds(shard)
    assert (site.cache.folder / "0000-00.tar").read_bytes() == b"mine"


def test_the_longest_unused_makes_room(tmp_path: Path) -> None:
    size = max(shard.bytes for shard in Site(tmp_path / "other").shards)
    site = Site(tmp_path, limit=2 * size)
    one, two, three, *_ = site.shards
    for age, shard in ((200, one), (100, two)):
        site.fetch(shard)
        os.utime(site.cache.folder / shard.sha256, (time.time() - age,) * 2)
    assert site.cache.read(one, 0, 10) is not None
    assert site.fetch(three)
    assert site.held() == [one.name, three.name]
    assert site.bytes() <= site.cache.limit


def test_what_was_deleted_while_open_reads_on(tmp_path: Path) -> None:
    size = max(shard.bytes for shard in Site(tmp_path / "other").shards)
    site = Site(tmp_path, limit=size)
    one, two, *_ = site.shards
    site.fetch(one)
    with (site.cache.folder / one.sha256).open("rb") as stream:
        site.fetch(two)
        assert site.held() == [two.name]
        assert hashlib.sha256(stream.read()).hexdigest() == one.sha256


def test_a_shard_larger_than_the_cache_is_read_by_ranges(tmp_path: Path) -> None:
    site = Site(tmp_path, limit=100)
    assert not site.fetch(site.shards[0])
    assert not site.store.downloads
    assert np.array_equal(site.reader.read(0), ShardReader(site.index).read(0))


def test_shards_that_would_push_each_other_out_are_not_fetched(tmp_path: Path) -> None:
    site = Site(tmp_path, limit=0)
    site.cache.limit = site.shards[0].bytes + site.shards[1].bytes
    assert not site.reader.fetch_ahead([0, 1, 2])
    assert site.reader.fetch_ahead([0, 1, 0])
    site.reader.close()
    assert ShardReader(site.index).fetch_ahead([0, 1, 2])


def test_a_shard_that_another_process_fetches_is_not_waited_for(site: Site) -> None:
    lock = site.cache.folder / "locks" / f"{site.shards[0].sha256}.lock"
    with only_one(lock, "fetching"):
        assert not site.fetch(site.shards[0])
        assert site.fetch(site.shards[1])
    assert site.fetch(site.shards[0])


def test_what_a_killed_process_left_behind_is_cleared_and_what_a_live_one_fetches_counts(
    tmp_path: Path,
) -> None:
    size = max(shard.bytes for shard in Site(tmp_path / "other").shards)
    site = Site(tmp_path, limit=2 * size)
    dead, live = "a" * 64, "b" * 64
    arriving = site.cache.folder / "arriving"
    arriving.mkdir(parents=True)
    for name in (dead, f".{dead}.123.arriving", live):
        (arriving / name).write_bytes(bytes(size))
    with only_one(site.cache.folder / "locks" / f"{live}.lock", "fetching"):
        assert site.fetch(site.shards[0])
        assert [path.name for path in arriving.iterdir()] == [live]
        assert site.fetch(site.shards[1])
    assert len(site.held()) == 1


def test_a_cache_that_cannot_be_written_is_said_and_training_reads_on(site: Site) -> None:
    site.cache.folder.write_text("a file, where a folder should be")
    with pytest.raises(MachineError, match="cannot write"):
        site.fetch(site.shards[0])
    ahead = FetchAhead(site.cache, site.store, site.name)
    ahead.want(site.shards)
    ahead.wait()
    ahead.check()
    ahead.close()
    assert site.reader.read(0).shape == (2, CLIP)


def test_processes_of_one_host_fetch_each_shard_once(tmp_path: Path) -> None:
    site = Site(tmp_path)
    log = tmp_path / "downloads.txt"
    in_processes(3, _fetch_all, tmp_path, site.index, log)
    assert sorted(log.read_text().split()) == sorted(shard.name for shard in site.shards)
    assert len(site.held()) == len(site.shards)


def test_processes_keep_the_bound_together(tmp_path: Path) -> None:
    site = Site(tmp_path)
    limit = 2 * max(shard.bytes for shard in site.shards)
    in_processes(2, _read_all, tmp_path, site.index, limit)
    assert 0 < site.bytes() <= limit


def in_processes(count: int, work: Callable[..., None], *arguments: object) -> None:
    spawn = multiprocessing.get_context("spawn")
    jobs = [spawn.Process(target=work, args=arguments) for _ in range(count)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0] * count


class _Noting(FolderStore):
    """A store that notes in a file what is downloaded of it."""

    def __init__(self, root: Path, log: Path) -> None:
        super().__init__(root)
        self._log = log

    def get(self, name: str, path: Path, sha256: str = "") -> None:
        with self._log.open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.write(name.rpartition("/")[2] + "\n")
        super().get(name, path, sha256)


def _fetch_all(root: Path, index: Path, log: Path) -> None:
    cache, store = ShardCache(root / "cache", 10**9), _Noting(root / "bucket", log)
    shards = ShardReader(index).index.shards
    while lacking := [shard for shard in shards if not cache.holds(shard)]:
        for shard in lacking:
            cache.fetch(shard, store, f"{SHARDS}/{shard.name}")


def _read_all(root: Path, index: Path, limit: int) -> None:
    """Read every clip in an order of this process's own, its shard fetched if there is room."""
    cache, store = ShardCache(root / "cache", limit), FolderStore(root / "bucket")
    reader, plain = ShardReader(index, store, SHARDS, cache), ShardReader(index)
    for clip in np.random.default_rng(os.getpid()).permutation(len(reader)).tolist():
        shard = reader.index.shards[reader.clips.shard_of(clip)]
        cache.fetch(shard, store, f"{SHARDS}/{shard.name}")
        assert np.array_equal(reader.read(clip), plain.read(clip))

"""One contract for every store: a folder, a bucket, and a bucket that keeps no conditions."""

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.errors import IntegrityError, LockedError, ManifestError
from storage.stores.base import FolderStore, Store, Unfinished
from storage.stores.s3 import BucketStore, lease
from tests.bucket import SERVERS, bucket
from tests.fault_proxy import Rules

NAMES = ("a.json", "fma/0a1b/shards/0003-00.tar", "fma/0a1b", "odd/M.E.R.C. Music & Co/ä + %2F.wav")


@pytest.fixture(params=["folder", "bucket", "bucket without conditions", "localbucket", "rclone"])
def store(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    s3_endpoint: str,
    proxied: tuple[str, Rules],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Store]:
    monkeypatch.setattr(lease, "SETTLE_SECONDS", 0.05)
    if request.param == "folder":
        yield FolderStore(tmp_path / "home")
    elif request.param == "bucket":
        with bucket(s3_endpoint) as url:
            yield BucketStore(url)
    elif request.param in SERVERS:
        with bucket(request.getfixturevalue(f"{request.param}_endpoint")) as url:
            yield BucketStore(url)
    else:
        endpoint, rules = proxied
        with bucket(endpoint) as url:
            monkeypatch.setattr(rules, "conditional", False)
            yield BucketStore(url)


def file_of(tmp_path: Path, data: bytes) -> tuple[Path, str]:
    path = tmp_path / "file"
    path.write_bytes(data)
    return path, hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("name", [NAMES[0], NAMES[1], NAMES[3]])
def test_what_is_written_is_read(store: Store, name: str) -> None:
    assert store.seen(name) is None
    seen = store.write(name, b"some bytes")
    assert seen.bytes == 10
    assert store.seen(name) == seen
    assert store.read(name) == b"some bytes"
    assert store.listing("") == {name: seen}


def test_another_content_looks_otherwise(store: Store) -> None:
    seen = {store.write("name", data) for data in (b"one", b"longer", b"")}
    assert len(seen) == 3
    assert store.read("name") == b""


@pytest.mark.parametrize(("start", "length"), [(0, 4), (3, 4), (3, -1), (10, -1), (12, -1), (3, 0)])
def test_a_part_is_the_slice(store: Store, start: int, length: int) -> None:
    data = b"0123456789"
    store.write("name", data)
    assert store.read("name", start, length) == data[start:][: length if length >= 0 else None]


@pytest.mark.parametrize(("start", "length"), [(0, 11), (8, 3), (10, 1), (20, 1)])
def test_a_part_beyond_the_end_is_an_error(store: Store, start: int, length: int) -> None:
    store.write("name", b"0123456789")
    with pytest.raises(IntegrityError, match="name"):
        store.read("name", start, length)


def test_what_is_not_there_is_named(store: Store, tmp_path: Path) -> None:
    for length in (-1, 0, 3):
        with pytest.raises(ManifestError, match=r"not/there.*run the stage that makes it again"):
            store.read("not/there", 0, length)
    with pytest.raises(ManifestError, match="not/there"):
        store.get("not/there", tmp_path / "file")
    assert not (tmp_path / "file").exists()


def test_a_file_goes_in_and_comes_out(store: Store, tmp_path: Path) -> None:
    path, sha256 = file_of(tmp_path, b"shard" * 1000)
    seen = store.put("shards/0.tar", path, sha256)
    assert seen == store.seen("shards/0.tar")
    store.put("shards/0.tar", path, sha256)
    out = tmp_path / "deep" / "out"
    store.get("shards/0.tar", out, sha256)
    assert out.read_bytes() == path.read_bytes()
    assert list(out.parent.iterdir()) == [out]


def test_other_bytes_replace(store: Store, tmp_path: Path) -> None:
    store.put("name", *file_of(tmp_path, b"first"))
    before = store.seen("name")
    after = store.put("name", *file_of(tmp_path, b"later"))
    assert store.read("name") == b"later"
    assert after == store.seen("name") != before


def test_an_altered_object_never_becomes_a_file(store: Store, tmp_path: Path) -> None:
    _, sha256 = file_of(tmp_path, b"what was promised")
    store.write("name", b"what is there now")
    with pytest.raises(IntegrityError, match=r"name has been altered"):
        store.get("name", tmp_path / "out", sha256)
    assert not (tmp_path / "out").exists()


def test_removal_is_final_and_repeatable(store: Store) -> None:
    store.write("name", b"1")
    for _ in range(2):
        store.remove("name")
        assert store.seen("name") is None
    assert store.listing("") == {}


def test_a_listing_is_of_one_folder(store: Store) -> None:
    for name in ("fma/1/a", "fma/1/b/c", "fma/10/a", "fma.json"):
        store.write(name, name.encode())
    assert set(store.listing("fma/1")) == {"fma/1/a", "fma/1/b/c"}
    assert set(store.listing("fma")) == {"fma/1/a", "fma/1/b/c", "fma/10/a"}
    assert store.listing("nothing") == {}
    assert store.listing("fma/1")["fma/1/b/c"] == store.seen("fma/1/b/c")


def test_files_whose_writers_died_are_listed_and_thrown_away(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.write("fma/index.json", b"whole")
    dead, live = (tmp_path / "fma" / f".0000-0{n}.tar.1.arriving" for n in (0, 1))
    for path in (dead, live):
        path.write_bytes(b"half")
    os.utime(dead, (time.time() - 7200,) * 2)
    left = store.unfinished(older_seconds=3600)
    assert left == [Unfinished("fma/.0000-00.tar.1.arriving", 4)]
    for one in left:
        store.discard(one)
    assert (dead.exists(), live.exists()) == (False, True)
    assert list(store.listing("fma")) == ["fma/index.json"]


def test_one_alone(store: Store) -> None:
    with store.alone("locks/unit", "packing unit 3"):
        with (
            pytest.raises(LockedError, match=r"packing unit 3 is being done by another .*pid \d+"),
            store.alone("locks/unit", "packing unit 3"),
        ):
            raise AssertionError("never reached")
        with store.alone("locks/other", "packing unit 4"):
            pass
    with store.alone("locks/unit", "packing unit 3"):
        pass


def test_a_lock_is_given_back_after_an_error(store: Store) -> None:
    with pytest.raises(ValueError, match="work"), store.alone("locks/unit", "work"):
        raise ValueError("work")
    with store.alone("locks/unit", "work"):
        pass


ACTIONS = st.one_of(
    st.tuples(st.sampled_from(["write", "put"]), st.sampled_from("abc"), st.binary(max_size=40)),
    st.tuples(st.just("remove"), st.sampled_from("abc"), st.just(b"")),
)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(actions=st.lists(ACTIONS, max_size=12))
def test_a_store_is_a_dictionary(
    store: Store, tmp_path: Path, actions: list[tuple[str, str, bytes]]
) -> None:
    for name in store.listing(""):
        store.remove(name)
    model: dict[str, bytes] = {}
    for action, letter, data in actions:
        name = f"folder/{letter}"
        if action == "remove":
            store.remove(name)
            model.pop(name, None)
        else:
            if action == "put":
                store.put(name, *file_of(tmp_path, data))
            else:
                store.write(name, data)
            model[name] = data
    assert {name: seen.bytes for name, seen in store.listing("folder").items()} == {
        name: len(data) for name, data in model.items()
    }
    for name in ("folder/a", "folder/b", "folder/c"):
        assert (store.seen(name) is not None) == (name in model)
    for name, data in model.items():
        assert store.read(name) == data
        store.get(name, tmp_path / "out", hashlib.sha256(data).hexdigest())
        assert (tmp_path / "out").read_bytes() == data

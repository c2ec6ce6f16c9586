"""Who writes what is in a bucket already, with and without a server that keeps conditions."""

import hashlib
from pathlib import Path

import pytest

from storage.errors import LockedError
from storage.stores.s3 import BucketStore, upload
from tests.fault_proxy import Rules

Faulty = tuple[BucketStore, Rules]


def file_of(tmp_path: Path, data: bytes) -> tuple[Path, str]:
    path = tmp_path / "file"
    path.write_bytes(data)
    return path, hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("status", [409, 412])
def test_a_condition_refused_for_nothing_is_tried_again(
    faulty: Faulty, tmp_path: Path, status: int
) -> None:
    store, rules = faulty
    rules.add("status", "PUT", "home/name", amount=status, times=3)
    store.put("name", *file_of(tmp_path, b"bytes"))
    assert store.read("name") == b"bytes"
    rules.add("status", "PUT", "home/other", amount=status, times=999)
    with pytest.raises(LockedError, match=r"other is written or removed by another process"):
        store.put("other", *file_of(tmp_path, b"bytes"))


class Meddler:
    """Writes the object in the moment between the look and the put of someone else."""

    def __init__(self, store: BucketStore, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
        self.store, self.data, self.real = store, data, upload.send_file
        monkeypatch.setattr(upload, "send_file", self)

    def __call__(self, *arguments: object) -> str:
        self.store.write("name", self.data)
        return self.real(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("before", [None, b"of an earlier run"])
def test_two_writers_of_equal_bytes_agree(
    faulty: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bytes | None
) -> None:
    store, _ = faulty
    if before:
        store.write("name", before)
    Meddler(store, monkeypatch, b"same")
    seen = store.put("name", *file_of(tmp_path, b"same"))
    assert (store.read("name"), store.seen("name")) == (b"same", seen)


@pytest.mark.parametrize("before", [None, b"of an earlier run"])
@pytest.mark.parametrize("single", [1 << 30, 0])
def test_two_writers_of_other_bytes_do_not_take_turns(
    faulty: Faulty,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: bytes | None,
    single: int,
) -> None:
    store, _ = faulty
    monkeypatch.setattr(upload, "SINGLE_BYTES", single)
    if before:
        store.write("name", before)
    Meddler(store, monkeypatch, b"theirs")
    with pytest.raises(LockedError, match=r"name is written or removed by another process"):
        store.put("name", *file_of(tmp_path, b"ours"))
    assert store.read("name") == b"theirs"


def test_a_server_without_conditions_still_stores(faulty: Faulty, tmp_path: Path) -> None:
    store, rules = faulty
    rules.conditional = False
    for data in (b"first", b"first", b"second"):
        store.put("name", *file_of(tmp_path, data))
        assert store.read("name") == data
    puts = [r for r in rules.requests if r.method == "PUT" and r.path.endswith("home/name")]
    assert len(puts) == 2
    assert not any({"if-match", "if-none-match"} & set(put.headers) for put in puts)


def test_a_server_that_knows_no_conditions_is_believed(faulty: Faulty, tmp_path: Path) -> None:
    store, rules = faulty
    rules.add("status", "PUT", r"\.probes/", amount=501, code="NotImplemented", first=2, times=9)
    store.put("name", *file_of(tmp_path, b"bytes"))
    assert store.read("name") == b"bytes"

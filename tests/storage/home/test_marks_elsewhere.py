"""Work done on one machine stands on every other that shares its home's store."""

import os
from pathlib import Path

import pytest

from storage.errors import IntegrityError
from storage.home import marks
from storage.home.layout import Home
from storage.home.marks import (
    FEW_OUTPUTS,
    Mark,
    Work,
    all_marks,
    commit,
    find_fault,
    forget,
    lookup,
    lookup_all,
)
from storage.stores.base import FolderStore, Seen


def work(number: int) -> Work:
    return Work("pack", 1, {}, {"unit": str(number)})


class Counting(FolderStore):
    """Counts how often the store is asked."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked = {"seen": 0, "listing": 0, "get": 0}
        self.listed: list[str] = []
        self.ranges: list[tuple[str, int, int]] = []

    def seen(self, name: str) -> Seen | None:
        self.asked["seen"] += 1
        return super().seen(name)

    def listing(self, folder: str) -> dict[str, Seen]:
        self.asked["listing"] += 1
        self.listed.append(folder)
        before = dict(self.asked)
        found = super().listing(folder)
        self.asked = before
        return found

    def read(self, name: str, start: int = 0, length: int = -1) -> bytes:
        self.ranges.append((name, start, length))
        return super().read(name, start, length)

    def get(self, name: str, path: Path, sha256: str = "") -> None:
        self.asked["get"] += 1
        super().get(name, path, sha256)


def machine(tmp_path: Path, name: str) -> tuple[Home, Counting]:
    store = Counting(tmp_path / "bucket")
    return Home(tmp_path / name, store), store


def build(home: Home, number: int = 0) -> Mark:
    folder = home.corpus("fma", "0a1b").shards
    folder.mkdir(parents=True, exist_ok=True)
    outputs = {}
    for label in ("ledger", "shard-0000"):
        path = folder / f"{number:04d}-{label}"
        path.write_text(f"{label} of {number}")
        outputs[label] = path
    return commit(home, work(number), outputs, {}, 1.0)


def test_done_here_is_done_there(tmp_path: Path) -> None:
    (first, _), (second, store) = machine(tmp_path, "first"), machine(tmp_path, "second")
    mark = build(first)
    first.release(mark.path(first, "ledger"))
    assert lookup(second, work(0)).mark == mark
    assert list(all_marks(second)) == [mark]
    assert not second.root.exists(), "a look brings nothing here"
    assert mark.path(second, "ledger").read_text() == "ledger of 0"
    assert mark.path(second, "ledger").is_relative_to(second.root)
    assert store.asked["get"] == 1, "what is here already is not fetched again"


def test_a_stale_copy_here_is_replaced(tmp_path: Path) -> None:
    (first, _), (second, _) = machine(tmp_path, "first"), machine(tmp_path, "second")
    mark = build(first)
    stale = second.path(mark.outputs[0].path)
    stale.parent.mkdir(parents=True)
    stale.write_text("of another run")
    assert mark.path(second, "ledger").read_text() == "ledger of 0"


def test_loss_and_change_in_the_store_are_found(tmp_path: Path) -> None:
    home, _ = machine(tmp_path, "first")
    mark = build(home)
    stored = tmp_path / "bucket" / mark.outputs[0].path
    stored.write_text("LEDGER of 0")
    assert lookup(home, work(0)).why == f"{mark.outputs[0].path} has been altered"
    with pytest.raises(IntegrityError, match="altered"):
        mark.path(machine(tmp_path, "second")[0], "ledger")
    stored.unlink()
    assert lookup(home, work(0)).why == f"{mark.outputs[0].path} is missing"
    assert build(home).digest == mark.digest
    assert find_fault(home, mark, deep=True) == ""


def test_many_are_looked_up_by_few_listings(tmp_path: Path) -> None:
    (first, _), (second, store) = machine(tmp_path, "first"), machine(tmp_path, "second")
    made = [build(first, number) for number in range(40)]
    found = lookup_all(second, [work(number) for number in range(41)])
    assert [stand.mark for stand in found] == [*made, None]
    assert store.asked == {"seen": 0, "listing": 2, "get": 0}


def test_folders_are_listed_a_corpus_at_a_time(tmp_path: Path) -> None:
    """Whatever is within a corpus takes one listing, and other corpora are none of it."""
    (first, _), (second, store) = machine(tmp_path, "first"), machine(tmp_path, "second")
    outputs = {}
    for name in ("fma/0a1b/plan.json", "fma/0a1b/shards/0000.tar", "runs/r/model/w", "notes.txt"):
        outputs[name] = first.root / name
        outputs[name].parent.mkdir(parents=True, exist_ok=True)
        outputs[name].write_text(name)
    mark = commit(first, work(0), outputs, {}, 1.0)
    assert marks.find_faults(second, [mark]) == [""]
    assert sorted(store.listed) == ["", "fma/0a1b", "runs/r"]


@pytest.mark.parametrize("count", [1, FEW_OUTPUTS, FEW_OUTPUTS + 1, 3 * FEW_OUTPUTS])
def test_few_outputs_are_asked_for_and_more_are_listed(tmp_path: Path, count: int) -> None:
    (first, _), (second, store) = machine(tmp_path, "first"), machine(tmp_path, "second")
    folder = first.corpus("fma", "0a1b").shards
    folder.mkdir(parents=True)
    outputs = {f"{number}": folder / f"{number}" for number in range(count)}
    for path in outputs.values():
        path.write_text("sound")
    mark = commit(first, work(0), outputs, {}, 1.0)
    few = count <= FEW_OUTPUTS
    store.asked = dict.fromkeys(store.asked, 0)
    assert find_fault(second, mark) == ""
    assert store.asked == {"seen": count if few else 0, "listing": 0 if few else 1, "get": 0}


def test_nothing_is_read_unless_deep(tmp_path: Path) -> None:
    """A forged version hides a change from a look, and from a deep one nothing does."""
    home, store = machine(tmp_path, "first")
    made = [build(home, number) for number in range(3)]
    stored = tmp_path / "bucket" / made[1].outputs[1].path
    before = stored.stat()
    stored.write_text(stored.read_text().upper())
    os.utime(stored, ns=(before.st_atime_ns, before.st_mtime_ns))
    store.ranges.clear()
    assert marks.find_faults(home, made) == [""] * 3
    assert not store.ranges
    works = [work(number) for number in range(3)]
    assert [found.why for found in lookup_all(home, works)] == [""] * 3
    altered = ["", f"{made[1].outputs[1].path} has been altered", ""]
    assert marks.find_faults(home, made, deep=True) == altered
    assert [found.why for found in lookup_all(home, works, deep=True)] == altered


@pytest.mark.parametrize("piece", [1, 3, 4, 11, 12, 13])
def test_every_byte_is_read_once_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    (first, _), (second, store) = machine(tmp_path, "first"), machine(tmp_path, "second")
    mark = build(first, 12)  # the ledger has twelve bytes
    monkeypatch.setattr(marks, "CHUNK_BYTES", piece)
    store.ranges.clear()
    assert find_fault(second, mark, deep=True) == ""
    ledger = mark.outputs[0]
    read = [(start, length) for name, start, length in store.ranges if name == ledger.path]
    assert [byte for start, length in read for byte in range(start, start + length)] == list(
        range(ledger.bytes)
    )
    assert max(length for _, length in read) <= piece


def test_all_of_many_are_fetched(tmp_path: Path) -> None:
    (first, _), (second, store) = machine(tmp_path, "first"), machine(tmp_path, "second")
    made = [build(first, number) for number in range(20)]
    marks.fetch(second, made, lambda output: output.label == "ledger")
    assert len(list(second.root.rglob("*-ledger"))) == store.asked["get"] == 20
    assert not list(second.root.rglob("*-shard-0000"))


def test_what_is_forgotten_is_forgotten_everywhere(tmp_path: Path) -> None:
    (first, _), (second, _) = machine(tmp_path, "first"), machine(tmp_path, "second")
    forget(second, build(first))
    assert lookup(first, work(0)).mark is None
    second.clear(second.corpus("fma", "0a1b").root)
    assert not list((tmp_path / "bucket").rglob("*-ledger"))

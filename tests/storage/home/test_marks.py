"""Marks: work is done if and only if its mark and every output say so."""

import os
import re
from pathlib import Path

import pytest

from storage.errors import ManifestError
from storage.files import hash_file
from storage.home import marks
from storage.home.layout import Home
from storage.home.marks import Lookup, Mark, Work, all_marks, commit, find_fault, lookup

WORK = Work("pack", 1, {"rate": 44_100}, {"unit": "abc"})


def build(home: Home, text: str = "sound") -> Mark:
    home.root.mkdir(exist_ok=True)
    for name in ("a.tar", "b.tar"):
        (home.root / name).write_text(text + name)
    outputs = {"first": home.root / "a.tar", "second": home.root / "b.tar"}
    return commit(home, WORK, outputs, {"clips": 2}, 1.23456)


def test_work_is_done_when_marked(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert lookup(home, WORK) == Lookup(None, "")
    mark = build(home)
    assert lookup(home, WORK).mark == mark
    assert (mark.seconds, mark.facts, mark.key) == (1.235, {"clips": 2}, WORK.key)
    assert mark.path(home, "second") == home.root / "b.tar"
    assert mark.size == sum(path.stat().st_size for path in home.root.glob("*.tar"))
    assert list(all_marks(home)) == [mark]
    with pytest.raises(ManifestError, match="no output 'third'"):
        mark.path(home, "third")


def test_what_only_describes_the_outputs_is_kept_but_decides_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    plain, card = build(home), home.root / "README.md"
    for words in ("a card", "another card"):
        card.write_text(words)
        outputs = {"first": home.root / "a.tar", "second": home.root / "b.tar", "card": card}
        mark = commit(home, WORK, outputs, {}, 0, about=["card"])
        assert mark.digest == plain.digest
        assert mark.path(home, "card") == card
        assert lookup(home, WORK).mark == mark
    card.write_text("altered card")
    assert "README.md has been altered" in lookup(home, WORK).why


def test_a_home_may_move(tmp_path: Path) -> None:
    mark = build(Home(tmp_path / "home"))
    (tmp_path / "home").rename(tmp_path / "moved")
    assert lookup(Home(tmp_path / "moved"), WORK).mark == mark


def test_a_copied_home_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home")
    build(home)
    for path in home.root.glob("*.tar"):
        os.utime(path, ns=(1, 1))
    read: list[Path] = []

    def hashed(path: Path) -> str:
        read.append(path)
        return hash_file(path)

    monkeypatch.setattr(marks, "hash_file", hashed)
    assert lookup(home, WORK).mark
    assert len(read) == 2
    assert lookup(home, WORK).mark
    assert len(read) == 2


@pytest.mark.parametrize(
    "other",
    [
        Work("cut", 1, {"rate": 44_100}, {"unit": "abc"}),
        Work("pack", 2, {"rate": 44_100}, {"unit": "abc"}),
        Work("pack", 1, {"rate": 48_000}, {"unit": "abc"}),
        Work("pack", 1, {"rate": 44_100}, {"unit": "abd"}),
    ],
    ids=["stage", "version", "config", "inputs"],
)
def test_whatever_decides_the_result_decides_the_key(tmp_path: Path, other: Work) -> None:
    home = Home(tmp_path)
    build(home)
    assert other.key != WORK.key
    assert re.fullmatch("[0-9a-f]{16}", other.key)
    assert lookup(home, other).mark is None


def test_a_lost_or_altered_output_undoes_the_mark(tmp_path: Path) -> None:
    home = Home(tmp_path)
    mark = build(home)
    path = home.root / "a.tar"
    path.write_text("SOUNDa.tar")
    assert lookup(home, WORK).why == "a.tar has been altered"
    path.write_text("longer than before")
    assert lookup(home, WORK).why.startswith("a.tar has 18 bytes instead of 10")
    path.unlink()
    assert lookup(home, WORK).why == "a.tar is missing"
    assert build(home).digest == mark.digest
    assert lookup(home, WORK).mark is not None


def test_deep_reads_what_a_forged_time_hides(tmp_path: Path) -> None:
    home = Home(tmp_path)
    mark = build(home)
    path = home.root / "a.tar"
    before = path.stat()
    path.write_text("SOUNDa.tar")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert find_fault(home, mark) == ""
    assert find_fault(home, mark, deep=True) == "a.tar has been altered"


def test_a_touched_file_is_still_the_same(tmp_path: Path) -> None:
    home = Home(tmp_path)
    mark = build(home)
    os.utime(home.root / "a.tar")
    assert lookup(home, WORK).mark == mark


def test_the_digest_is_of_content_alone(tmp_path: Path) -> None:
    first, second = (build(Home(tmp_path / name)) for name in ("one", "two"))
    other = build(Home(tmp_path / "three"), "noise")
    assert first.digest == second.digest != other.digest


def test_an_unreadable_mark_counts_as_missing(tmp_path: Path) -> None:
    home = Home(tmp_path)
    build(home)
    home.mark(WORK.stage, WORK.key).write_text('{"stage": ')
    assert lookup(home, WORK).why == "its mark is unreadable"
    assert list(all_marks(home)) == []

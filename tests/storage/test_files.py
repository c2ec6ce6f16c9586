"""Durable bytes: whole or not at all; locks that die with their holder."""

import errno
import hashlib
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from storage import files
from storage.errors import LockedError, MachineError, ManifestError


def test_a_file_arrives_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    files.write_bytes(path, b"first")
    with pytest.raises(ValueError, match="midway"), files.arriving(path) as temporary:
        temporary.write_bytes(b"half of the sec")
        raise ValueError("midway")
    assert path.read_bytes() == b"first"
    assert list(path.parent.iterdir()) == [path]


def test_json_round_trips_and_is_stable(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    files.write_json(path, {"b": [1, 2.5], "a": None})
    assert files.read_json(path) == {"a": None, "b": [1, 2.5]}
    assert path.read_text().index('"a"') < path.read_text().index('"b"')


def test_unreadable_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    with pytest.raises(ManifestError, match=r"value\.json is missing"):
        files.read_json(path)
    for damage in (b'{"a": ', b"\xff\xfe\x00"):
        path.write_bytes(damage)
        with pytest.raises(ManifestError, match=r"value\.json is not readable JSON"):
            files.read_json(path)


def test_checksums_are_of_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * (files.BLOCK + 7))
    assert files.hash_file(path) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.ENOSPC, "no space"), (errno.EROFS, "read-only")]
)
def test_disk_errors_say_what_to_do(tmp_path: Path, number: int, remedy: str) -> None:
    with pytest.raises(MachineError, match=remedy), files.disk_errors(tmp_path):
        raise OSError(number, "no")
    with pytest.raises(FileNotFoundError), files.disk_errors(tmp_path):
        (tmp_path / "nothing").stat()


def test_a_folder_under_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match=r"cannot write .* part of the path is a file"):
        files.write_bytes(tmp_path / "file" / "deeper" / "file", b"")


def test_space_is_required_before_it_runs_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 0, 10))
    files.require_space(tmp_path / "not" / "there", 10, "unpacking")
    with pytest.raises(MachineError, match=r"unpacking needs 0\.00 GB under"):
        files.require_space(tmp_path, 11, "unpacking")


def test_only_one_holds_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "unit.lock"
    with (
        files.only_one(path, "packing unit 0003"),
        pytest.raises(LockedError, match="packing unit 0003 is being done by another process"),
        files.only_one(path, "packing unit 0003"),
    ):
        raise AssertionError("never reached")
    with files.only_one(path, "packing unit 0003"):
        pass


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "unit.lock"
    script = (
        "import sys, time; from pathlib import Path; from storage.files import only_one\n"
        "with only_one(Path(sys.argv[1]), 'work'):\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=f"pid {holder.pid}"), files.only_one(path, "work"):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with files.only_one(path, "work"):
        pass

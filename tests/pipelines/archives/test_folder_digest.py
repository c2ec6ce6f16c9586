"""A folder's checksum: of names and contents, of nothing else."""

import os
import shutil
from pathlib import Path

import pytest

from pipelines.archives.folder_digest import check_folder, folder_state
from storage.errors import DataError
from tests.stem_archives import stem_folder, write_files

GOOD = ("train/Ada - One", "train/Bo - Two", "test/Cy - Three")


def test_a_folder_is_known_by_its_content(tmp_path: Path) -> None:
    """Neither by its place nor by its files' times; each changed byte and name tells."""
    folder = write_files(tmp_path / "stems", stem_folder(GOOD, 0.1))
    seen: list[int] = []
    known = check_folder(folder, seen.append)
    size, newest = folder_state(folder)
    assert sum(seen) == size == sum(len(data) for data in stem_folder(GOOD, 0.1).values())
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for path in copy.rglob("*.wav"):
        os.utime(path, (1, 1))
    assert check_folder(copy) == known
    bass = copy / GOOD[0] / "bass.wav"
    data = bytearray(bass.read_bytes())
    data[-1] ^= 1
    bass.write_bytes(data)
    assert check_folder(copy) != known
    assert folder_state(copy)[1] > newest
    (folder / GOOD[0]).rename(folder / "train" / "Ada - Another")
    assert check_folder(folder) != known
    assert folder_state(folder)[1] > newest
    with pytest.raises(DataError, match="missing"):
        folder_state(tmp_path / "nothing")


def test_what_systems_write_changes_nothing(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "stems", stem_folder(GOOD[:1], 0.1))
    known = check_folder(folder)
    write_files(folder, {"@eaDir/x": b"x", f"{GOOD[0]}/@eaDir/bass.wav/y": b"y", "Thumbs.db": b""})
    write_files(folder, {f"{GOOD[0]}/._bass.wav": b"z"})
    assert check_folder(folder) == known


def test_links_are_followed_once_around(tmp_path: Path) -> None:
    files = {"a/one.wav": b"one", "b/two.wav": b"two"}
    plain = write_files(tmp_path / "plain", files)
    linked = write_files(tmp_path / "linked", {"a/one.wav": b"one", "a/.hidden": b"x"})
    (linked / "b").symlink_to(plain / "b")
    (linked / "dead").symlink_to("nowhere")
    (linked / "b" / "back").symlink_to(plain)
    assert check_folder(linked) != check_folder(plain)
    (plain / "b" / "back").unlink()
    assert check_folder(linked) == check_folder(plain)
    assert folder_state(linked)[0] == 6

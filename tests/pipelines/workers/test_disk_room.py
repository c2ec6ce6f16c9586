"""Room on a disk that is really nearly full."""

from pathlib import Path

import pytest

from pipelines.packing.engines import pack_all
from pipelines.packing.unit_work import COPIES
from pipelines.workers.disk_room import DiskRoom
from storage.errors import MachineError
from storage.files import free_bytes
from storage.home.marks import lookup
from tests.pipelines.packing.corpora import CONFIG, begin, contents
from tests.small_disk import on_small_disks, small_disk
from tests.synthesised import write_fma

MB = 1_000_000


def room(folder: Path, reserve: int, what: str = "packing unit 7") -> DiskRoom:
    return DiskRoom(folder, reserve, "fma.disk_reserve_gb", what)


@on_small_disks
def test_work_begins_where_it_fits_beside_what_others_write(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 32 * MB) as disk:
        disk.leave(20 * MB)
        here = disk.root / "not" / "there" / "yet"
        with room(here, 4 * MB).taken(10 * MB):
            # The first is taken to be half done: 5 MB more, and 4 that stay free.
            with room(here, 4 * MB).taken(10 * MB):
                pass
            with (
                pytest.raises(MachineError) as refused,
                room(here, 4 * MB, "packing unit 8").taken(12 * MB),
            ):
                pytest.fail("begun without room")
        with room(here, 4 * MB).taken(15 * MB):
            pass
    message = str(refused.value)
    assert "packing unit 8 needs about 0.01 GB on the disk while it is done" in message
    assert "what was begun before 0.01 GB more" in message
    assert "of which fma.disk_reserve_gb keeps 0.00 GB; free at least 0.00 GB more" in message


@on_small_disks
def test_work_stops_when_others_fill_the_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 32 * MB) as disk:
        here = room(disk.root, 8 * MB)
        with here.taken(10 * MB):
            here.look()
            disk.leave(7 * MB)
            with pytest.raises(MachineError, match=r"packing unit 7 was stopped before the disk"):
                here.look()
        room(disk.root, 0).look()
        with room(disk.root, 0).taken(1 << 50):
            pass


@on_small_disks
def test_packing_stops_before_the_disk_is_full_and_continues(tmp_path: Path) -> None:
    archives = write_fma(tmp_path / "data")
    whole = begin(tmp_path / "whole", archives)
    whole.pack()
    with small_disk(tmp_path / "disk", 64 * MB) as disk:
        config = CONFIG.override(["disk_reserve_gb=0.02"])
        study = begin(disk.root / "home", archives, config)
        needed = [COPIES * request.expected_bytes for request in study.requests]
        disk.leave(20 * MB + max(needed) - MB)
        with pytest.raises(MachineError) as stopped:
            pack_all(study.requests, config)
        assert free_bytes(disk.root) >= 20 * MB
        message = str(stopped.value)
        assert "fma.disk_reserve_gb keeps 0.02 GB; free at least" in message
        assert "run again: what is done is kept" in message
        undone = [one for one in study.requests if not lookup(study.home, one.work).mark]
        assert undone
        assert not list((disk.root / "home" / "marks").rglob("*.failed")), "they did not fail"
        disk.free()
        pack_all(study.requests, config)
        assert contents(study.corpus) == contents(whole.corpus)

"""Packing wherever the configuration says, beside other packers of the same home."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.packing.engines import pack_all
from pipelines.packing.pack import packing_pool
from pipelines.packing.process_track import TrackResult, TrackTask, process_track
from pipelines.packing.unit_work import PackRequest
from storage.errors import ConfigError, StemworksError
from storage.home.marks import Mark, lookup
from tests.pipelines.packing.corpora import ONE_EACH, Study, begin, contents, misplaced
from tests.synthesised import Archives

PACKER = """
import fcntl, json, sys, time
from pathlib import Path
from pipelines.packing import pack
from pipelines.packing.engines import pack_all
from tests.pipelines.packing.corpora import ONE_EACH, begin
from tests.synthesised import Archives

root, archive, metadata, name = map(Path, sys.argv[1:])
with (root / "plan.lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    study = begin(root / "home", Archives(archive, metadata), ONE_EACH)
commit, packed = pack.commit, []

def counted(home, work, *rest):
    packed.append(work.key)
    return commit(home, work, *rest)

pack.commit = counted
(root / f"{name}.ready").touch()
while len(list(root.glob("*.ready"))) < 2:
    time.sleep(0.01)
marks = pack_all(study.requests, ONE_EACH.override(["workers=1"]))
(root / f"{name}.json").write_text(json.dumps([packed, [mark.key for mark in marks]]))
"""


def wait_until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.02)


class Packer(threading.Thread):
    """Packs a study's units in a thread of its own."""

    def __init__(self, study: Study) -> None:
        super().__init__(daemon=True)
        self._study = study
        self.told: list[str] = []
        self.marks: list[Mark] = []
        self.error: StemworksError | None = None

    def run(self) -> None:
        def note(mark: Mark) -> None:
            self.told.append(mark.key)

        try:
            self.marks = pack_all(self._study.requests, self._study.config, note)
        except StemworksError as error:
            self.error = error


def test_two_packers_share_the_work(tmp_path: Path, archives: Archives, alone: Study) -> None:
    """Each unit is packed once, whoever packs it, and both see all of them done."""
    packers = [
        subprocess.Popen([sys.executable, "-c", PACKER, tmp_path, *archives, name])
        for name in ("one", "two")
    ]
    assert [packer.wait() for packer in packers] == [0, 0]
    told = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two")]
    keys = [request.work.key for request in begin(tmp_path / "home", archives, ONE_EACH).requests]
    assert sorted(told[0][0] + told[1][0]) == sorted(keys)
    assert told[0][1] == told[1][1] == keys
    assert contents(begin(tmp_path / "home", archives, ONE_EACH).corpus) == contents(alone.corpus)


def test_a_unit_that_another_gives_up_is_packed_here(
    tmp_path: Path, archives: Archives, alone: Study
) -> None:
    study = begin(tmp_path, archives, ONE_EACH)
    held, *others = study.requests
    packer = Packer(study)
    with study.home.alone(held.work.name, "packing elsewhere"):
        packer.start()
        wait_until(lambda: len(packer.told) == len(others))
        assert not lookup(study.home, held.work).mark
        assert packer.is_alive(), "it waits for whoever holds the unit"
    packer.join()
    assert [mark.key for mark in packer.marks] == [request.work.key for request in study.requests]
    assert sorted(packer.told) == sorted(mark.key for mark in packer.marks), "told once of each"
    assert contents(study.corpus) == contents(alone.corpus)


def test_a_unit_that_another_finishes_is_taken_as_it_is(tmp_path: Path, archives: Archives) -> None:
    study = begin(tmp_path, archives, ONE_EACH)
    (held, *others), packer = study.requests, Packer(study)
    mark = pack_all([held], study.config)[0]
    path = study.home.mark(mark.stage, mark.key)
    aside = path.rename(tmp_path / "aside")
    with study.home.alone(held.work.name, "packing elsewhere"):
        packer.start()
        wait_until(lambda: len(packer.told) == len(others))
        aside.rename(path)
    packer.join()
    assert packer.marks[0] == mark


def test_a_failing_unit_is_said_though_another_is_awaited(
    tmp_path: Path, archives: Archives
) -> None:
    study = begin(tmp_path, archives, ONE_EACH)
    good, bad = study.requests[:2]
    with pytest.raises(StemworksError, match=rf"{bad.unit.tracks[0].id}\.mp3"):
        pack_all([good, misplaced(bad)], study.config)
    assert lookup(study.home, good.work).mark


HELD = "000002"


def held(task: TrackTask) -> TrackResult:
    """Process a track; one of them only once its corpus has a file called `go`."""
    deadline = time.monotonic() + 60
    while task.track.id == HELD and not (task.scratch / "go").exists():
        assert time.monotonic() < deadline, "nobody said go"
        time.sleep(0.02)
    return process_track(task)


def test_units_of_two_tasks_are_packed_side_by_side(
    tmp_path: Path, archives: Archives, alone: Study
) -> None:
    """The first task's last unit ends only when the second task has packed one."""
    study = begin(tmp_path, archives, ONE_EACH)
    last = next(one for one in study.requests if one.unit.tracks[0].id == HELD)
    others = [one for one in study.requests if one != last]
    told: list[str] = []

    def pack(requests: list[PackRequest], on_done: Callable[[Mark], None]) -> list[Mark]:
        with pool.turn() as turn:
            return pack_all(requests, study.config, on_done, turn)

    def go(mark: Mark) -> None:
        told.append(mark.key)
        (study.corpus.root / "go").touch()

    with packing_pool(2, held) as pool, ThreadPoolExecutor(1) as threads:
        first = threads.submit(pack, [last], lambda mark: told.append(mark.key))
        marks = pack(others, go)
        assert [mark.key for mark in first.result()] == [last.work.key]
    assert [mark.key for mark in marks] == [request.work.key for request in others]
    assert sorted(told) == sorted(request.work.key for request in study.requests)
    (study.corpus.root / "go").unlink()
    assert contents(study.corpus) == contents(alone.corpus)


def test_a_cluster_needs_an_address(tmp_path: Path, archives: Archives) -> None:
    study = begin(tmp_path, archives, ONE_EACH)
    with pytest.raises(ConfigError, match=r"--set fma\.scheduler=tcp://HOST:8786"):
        pack_all(study.requests, study.config.override(["engine=dask"]))


def test_nothing_is_nothing() -> None:
    assert pack_all([], ONE_EACH) == []
    assert pack_all([], ONE_EACH.override(["engine=dask"])) == []

"""Packing again: done work is left, lost work redone, to the same bytes after any crash."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.packing.pack import pack_unit, pack_units
from pipelines.packing.process_track import TrackResult
from pipelines.packing.unit_work import corpus_key, unit_work
from storage.errors import LockedError
from storage.files import only_one
from storage.home.layout import Corpus
from storage.home.marks import Mark, lookup
from tests.pipelines.packing.corpora import CONFIG, Study, begin, contents
from tests.synthesised import FMA_TRACKS, Archives


def hang(*_: object, **__: object) -> TrackResult:
    os.write(1, b"midway\n")
    time.sleep(60)
    raise AssertionError("nobody waited")


@pytest.mark.parametrize("workers", [2, 3])
def test_any_workers_and_any_order_give_the_same_bytes(
    tmp_path: Path, archives: Archives, packed: Study, workers: int
) -> None:
    study = begin(tmp_path, archives)
    done: list[Mark] = []
    marks = pack_units(study.requests[::-1], workers, done.append)
    assert contents(study.corpus) == contents(packed.corpus)
    assert len(done) == 3
    assert [m.digest for m in marks[::-1]] == [m.digest for m in packed.pack()]


def test_done_work_is_not_done_again(packed: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    first = packed.pack()
    monkeypatch.setattr("pipelines.packing.pack._pack", None)
    assert packed.pack() == first


@pytest.mark.parametrize("harm", ["delete", "alter", "ledger", "offsets"])
def test_only_the_harmed_unit_is_packed_again(
    tmp_path: Path, archives: Archives, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = begin(tmp_path, archives)
    before, bytes_before = study.pack(), contents(study.corpus)
    shard = sorted(study.corpus.shards.glob("*.tar"))[0]
    if harm == "delete":
        shard.unlink()
    elif harm == "alter":
        data = bytearray(shard.read_bytes())
        data[5000] ^= 1
        shard.write_bytes(data)
    elif harm == "ledger":
        study.corpus.ledger(shard.name[:4]).write_text("")
    else:
        shard.with_suffix(".idx.json").unlink()
    repacked: list[str] = []
    monkeypatch.setattr(
        "pipelines.packing.pack._clear_remains", lambda _, unit: repacked.append(unit.id)
    )
    after = study.pack()
    assert repacked == [shard.name[:4]]
    assert contents(study.corpus) == bytes_before
    assert [mark.digest for mark in after] == [mark.digest for mark in before]


@pytest.mark.parametrize("moment", ["process", "write_rows", "commit"])
def test_a_killed_run_resumes_where_it_stopped(
    tmp_path: Path, archives: Archives, packed: Study, moment: str
) -> None:
    study = begin(tmp_path, archives)
    script = (
        "import sys, time; from pathlib import Path; import pipelines.packing.pack as pack\n"
        "from tests.pipelines.packing.corpora import begin\n"
        "from tests.synthesised import Archives\n"
        "study = begin(Path(sys.argv[1]), Archives(Path(sys.argv[2]), Path(sys.argv[3])))\n"
        "pack.pack_unit(study.requests[0])\n"
        "from tests.pipelines.packing.test_pack_again import hang\n"
        "moment = sys.argv[4]\n"
        "if moment != 'process': setattr(pack, moment, hang)\n"
        "process = hang if moment == 'process' else pack.process_track\n"
        "pack.pack_units(study.requests[1:], 1, process=process)\n"
    )
    victim = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), *map(str, archives), moment],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "midway\n"
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
    done = [lookup(study.home, unit_work(u, CONFIG, study.corpus)) for u in study.plan.units]
    assert [found.mark is not None for found in done] == [True, False, False]
    marks = study.pack()
    assert marks[0] == done[0].mark, "the finished unit was not packed again"
    assert [mark.digest for mark in marks] == [mark.digest for mark in packed.pack()]
    assert not [name for name in contents(study.corpus) if "arriving" in name]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_run_ends_at_once_and_leaves_no_process(
    tmp_path: Path, archives: Archives, workers: int
) -> None:
    study = begin(tmp_path, archives)
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.pipelines.packing.corpora import begin\n"
        "from tests.pipelines.packing.test_pack_again import hang\n"
        "from tests.synthesised import Archives\n"
        "study = begin(Path(sys.argv[1]), Archives(Path(sys.argv[2]), Path(sys.argv[3])))\n"
        "study.pack(int(sys.argv[4]), hang)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), *map(str, archives), str(workers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "midway\n"
        victim.send_signal(signal.SIGINT)
        # The line closes when no child holds it any more.
        _, words = victim.communicate(timeout=50)
    assert "KeyboardInterrupt" in words
    assert sum(mark.facts["tracks"] for mark in study.pack()) == FMA_TRACKS


def test_half_written_files_are_cleared(tmp_path: Path, archives: Archives) -> None:
    study = begin(tmp_path, archives)
    study.corpus.shards.mkdir()
    remains = study.corpus.shards / ".0000-00.tar.123.arriving"
    track = study.plan.units[0].tracks[0].id
    fetched = study.corpus.root / f".{track}.abc.arriving"
    fetched.touch()
    other = study.corpus.shards / ".0001-00.tar.123.arriving"
    remains.touch()
    other.touch()
    pack_unit(study.requests[0])
    assert not remains.exists()
    assert not fetched.exists()
    assert other.exists()


def test_a_unit_is_packed_by_one_process_at_a_time(tmp_path: Path, archives: Archives) -> None:
    study = begin(tmp_path, archives)
    work = unit_work(study.plan.units[0], CONFIG, study.corpus)
    with (
        only_one(study.home.lock(work.name), "test"),
        pytest.raises(LockedError, match=f"packing unit 0000 .*pid {os.getpid()}"),
    ):
        pack_unit(study.requests[0])


def test_units_are_told_apart_by_all_that_shapes_their_bytes(packed: Study) -> None:
    unit, corpus = packed.plan.units[0], packed.corpus
    assert packed.requests[0].work == unit_work(unit, CONFIG, corpus)
    key = unit_work(unit, CONFIG, corpus).key
    for same in ("error_budget=1", "workers=7", "archive=other.zip", "units_per_task=9"):
        assert unit_work(unit, CONFIG.override([same]), corpus).key == key
        assert corpus_key(packed.plan, CONFIG.override([same])) == corpus.root.name
    for other in ("filters.mono=drop", "clips.hop_seconds=10", "seed=1", "shards.codec=wav"):
        assert unit_work(unit, CONFIG.override([other]), corpus).key != key
        assert corpus_key(packed.plan, CONFIG.override([other])) != corpus.root.name
    assert unit_work(packed.plan.units[1], CONFIG, corpus).key != key
    assert unit_work(unit, CONFIG, Corpus(corpus.root.parent / "other")).key != key

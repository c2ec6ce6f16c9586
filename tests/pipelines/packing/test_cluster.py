"""Packing by a Dask cluster: a scheduler and two workers, each a process of its own."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipelines.config import FmaConfig
from pipelines.packing import cluster
from pipelines.packing.engines import pack_all
from storage.errors import ConfigError, RunError, StemworksError
from storage.home.marks import Mark, lookup
from tests.pipelines.packing.corpora import ONE_EACH, Study, begin, contents, misplaced
from tests.synthesised import Archives

pytestmark = pytest.mark.slow

MODULE = "distributed.cli.dask_{}"


@dataclass
class Cluster:
    """A scheduler on a free port, and the workers that were asked of it."""

    port: int
    scratch: Path = Path()
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    @property
    def config(self) -> FmaConfig:
        return ONE_EACH.override(['engine="dask"', f'scheduler="{self.address}"'])

    def start(self, kind: str, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", MODULE.format(kind), *words, "--no-dashboard"]
        # As in an image: the package lies where the workers start.
        process = subprocess.Popen(
            command,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parents[3],
            env={**os.environ, "DASK_TEMPORARY_DIRECTORY": str(self.scratch)},
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def schedule(self) -> subprocess.Popen[bytes]:
        return self.start("scheduler", "--host", "127.0.0.1", "--port", str(self.port))

    def work(self, *words: str) -> subprocess.Popen[bytes]:
        return self.start("worker", self.address, "--nthreads", "1", *words)

    def stop(self) -> None:
        """End all at once, a nanny's worker with it: told politely, a nanny may take minutes."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(free_port(), tmp_path_factory.mktemp("dask"))
    try:
        made.schedule()
        yield made
    finally:
        made.stop()


def test_a_cluster_gives_the_same_bytes(
    tmp_path: Path, archives: Archives, alone: Study, dask: Cluster
) -> None:
    """One worker under a nanny, whose children may have no children of multiprocessing's own."""
    dask.work()
    dask.work("--no-nanny")
    study = begin(tmp_path, archives, ONE_EACH)
    told: list[str] = []
    marks = pack_all(study.requests, dask.config, lambda mark: told.append(mark.key))
    assert [mark.key for mark in marks] == [request.work.key for request in study.requests]
    assert sorted(told) == sorted(mark.key for mark in marks)
    assert contents(study.corpus) == contents(alone.corpus)
    assert os.getpid() not in {mark.built_by["pid"] for mark in marks}
    assert pack_all(study.requests, dask.config) == marks, "nothing is done twice"


def test_a_killed_worker_loses_only_what_it_had_in_hand(
    tmp_path: Path, archives: Archives, alone: Study, dask: Cluster
) -> None:
    victim, other = dask.work("--no-nanny"), dask.work("--no-nanny")
    study = begin(tmp_path, archives, ONE_EACH)
    before: list[Mark] = []

    def kill_it(mark: Mark) -> None:
        before.append(mark)
        if mark.built_by["pid"] == other.pid and victim.poll() is None:
            victim.send_signal(signal.SIGKILL)
            victim.wait()

    marks = pack_all(study.requests, dask.config, kill_it)
    assert victim.poll() == -signal.SIGKILL
    assert {mark.key for mark in before} == {mark.key for mark in marks}
    assert {mark.built_by["pid"] for mark in marks} <= {victim.pid, other.pid}
    assert contents(study.corpus) == contents(alone.corpus)


def test_a_failing_unit_does_not_stop_the_others(
    tmp_path: Path, archives: Archives, dask: Cluster
) -> None:
    dask.work("--no-nanny")
    study = begin(tmp_path, archives, ONE_EACH)
    bad, *good = study.requests[:3]
    with pytest.raises(StemworksError, match=rf"{bad.unit.tracks[0].id}\.mp3"):
        pack_all([misplaced(bad), *good], dask.config)
    assert all(lookup(study.home, request.work).mark for request in good)


def test_a_scheduler_that_is_not_there(
    tmp_path: Path, archives: Archives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    study, nowhere = begin(tmp_path, archives, ONE_EACH), Cluster(free_port())
    with pytest.raises(RunError, match=rf"no Dask scheduler answers at {nowhere.address} "):
        pack_all(study.requests, nowhere.config)


def test_a_scheduler_without_workers(
    tmp_path: Path, archives: Archives, dask: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "ALONE_SECONDS", 0.5)
    study = begin(tmp_path, archives, ONE_EACH)
    with pytest.raises(RunError, match=r"has had no worker for 0\.5 s; start some with 'dask"):
        pack_all(study.requests, dask.config)


def test_all_workers_lost(
    tmp_path: Path, archives: Archives, dask: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "LOOK_SECONDS", 0.2)
    only = dask.work("--no-nanny")
    study = begin(tmp_path, archives, ONE_EACH)
    done: list[Mark] = []

    def kill_it(mark: Mark) -> None:
        done.append(mark)
        monkeypatch.setattr(cluster, "ALONE_SECONDS", 1.0)
        only.kill()

    with pytest.raises(RunError, match=r"no worker for 1 s with \d of 9 units to pack"):
        pack_all(study.requests, dask.config, kill_it)
    assert all(lookup(study.home, request.work).mark for request in study.requests
               if request.work.key in {mark.key for mark in done})  # fmt: skip


def test_the_scheduler_lost(tmp_path: Path, archives: Archives, dask: Cluster) -> None:
    dask.work("--no-nanny", "--death-timeout", "5")
    study = begin(tmp_path, archives, ONE_EACH)
    with pytest.raises(RunError, match="the Dask scheduler has died"):
        pack_all(study.requests, dask.config, lambda _: dask.processes[0].kill())


def test_an_interruption_takes_back_what_is_not_begun(
    tmp_path: Path, archives: Archives, dask: Cluster
) -> None:
    dask.work("--no-nanny")
    study = begin(tmp_path, archives, ONE_EACH)

    def interrupt(mark: Mark) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack_all(study.requests, dask.config, interrupt)
    undone = [request for request in study.requests if not lookup(study.home, request.work).mark]
    assert undone
    # The worker's one thread comes to this only after all that it had been given before.
    later = begin(tmp_path / "later", archives, ONE_EACH)
    pack_all(later.requests[:1], dask.config)
    still = [request for request in undone if not lookup(study.home, request.work).mark]
    assert len(still) >= len(undone) - 2, "but for what was in hand, or just handed over"


def test_a_home_of_its_own_is_noticed(
    tmp_path: Path, archives: Archives, dask: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose home is another disk: what it says is done is nowhere to be seen here."""
    monkeypatch.setattr(cluster, "SHARED_SECONDS", 0.2)
    monkeypatch.setattr(cluster, "LOOK_SECONDS", 0.1)
    dask.work("--no-nanny")
    study = begin(tmp_path, archives, ONE_EACH)
    monkeypatch.setattr(type(study.home), "has", lambda *_: False)
    with pytest.raises(RunError, match="into a home of its own"):
        pack_all(study.requests[:1], dask.config)


def test_dask_is_asked_for_where_it_is_not_installed(tmp_path: Path, archives: Archives) -> None:
    (tmp_path / "distributed.py").write_text("raise ImportError('no such luck')\n")
    script = "from pipelines.packing import cluster"
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert ConfigError.__name__ in answer.stderr
    assert "install 'stemworks[dask]'" in answer.stderr

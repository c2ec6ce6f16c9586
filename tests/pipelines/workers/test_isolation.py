"""Isolation: whatever a function does to its process costs one item, never the caller."""

import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pipelines.workers.isolation import Isolated
from storage.errors import DecodeError, LostError, RunError
from storage.processes import children, start_time

MEMORY_MB = 400
PATIENCE = 60.0


def obey(order: str) -> object:
    """Do what is asked, most of it fatal."""
    if order == "segfault":
        ctypes.string_at(0)
    if order == "abort":
        os.abort()
    if order == "hang":
        time.sleep(600)
    if order == "eat":
        return [np.ones(1 << 20) for _ in range(1000)]
    if order == "refuse":
        raise DecodeError("song.mp3 is empty", "empty")
    if order == "stumble":
        raise ValueError("a plain mistake")
    if order == "exit":
        sys.exit(7)
    if order == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def big(size: int) -> bytes:
    return bytes(size)


def circumstances(_: int) -> dict[str, int]:
    return {
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "deaf to Ctrl-C": int(signal.getsignal(signal.SIGINT) == signal.SIG_IGN),
        "bytes": resource.getrlimit(resource.RLIMIT_DATA)[0],
    }


BEFORE: set[int] = set()
"""Processes that other tests left to this one."""


@pytest.fixture(autouse=True)
def _note_children() -> None:
    BEFORE.clear()
    BEFORE.update(children())


@pytest.fixture
def isolated() -> Iterator[Isolated[str, object]]:
    with Isolated(obey, MEMORY_MB) as isolated:
        yield isolated
    assert not set(children()) - BEFORE


def test_one_child_serves_all_items(isolated: Isolated[str, object]) -> None:
    pids = {isolated.call("go on", PATIENCE) for _ in range(5)}
    assert len(pids) == 1
    assert os.getpid() not in pids
    assert isolated.cpu_seconds > 0
    assert isolated.peak_bytes > 1 << 20


@pytest.mark.parametrize(
    ("order", "reason", "words"),
    [
        ("segfault", "crash", "was ended by SIGSEGV"),
        ("abort", "crash", "was ended by SIGABRT"),
        ("kill", "crash", "was ended by SIGKILL, as the kernel does where memory is short"),
        ("exit", "crash", "ended with exit code 7"),
        ("stumble", "crash", "ValueError: a plain mistake"),
        ("eat", "memory", "more memory than it may have"),
    ],
)
def test_a_lost_child_is_named_and_replaced(
    isolated: Isolated[str, object], order: str, reason: str, words: str
) -> None:
    first = isolated.call("go on", PATIENCE)
    with pytest.raises(LostError, match=words) as caught:
        isolated.call(order, PATIENCE)
    assert caught.value.reason == reason
    assert isolated.call("go on", PATIENCE) != first


def test_a_child_that_hangs_is_killed(isolated: Isolated[str, object]) -> None:
    hung = isolated.call("go on", PATIENCE)
    with pytest.raises(LostError, match=r"longer than 0\.2 s") as caught:
        isolated.call("hang", 0.2)
    assert caught.value.reason == "timeout"
    assert isinstance(hung, int)
    assert not start_time(hung)
    assert isolated.call("go on", PATIENCE) != hung


def test_errors_of_ours_come_back_typed_from_the_same_child(
    isolated: Isolated[str, object],
) -> None:
    first = isolated.call("go on", PATIENCE)
    with pytest.raises(DecodeError, match=r"song\.mp3 is empty") as caught:
        isolated.call("refuse", PATIENCE)
    assert caught.value.reason == "empty"
    assert isolated.call("go on", PATIENCE) == first


def test_whoever_waits_for_a_stopped_child_is_told(isolated: Isolated[str, object]) -> None:
    isolated.call("go on", PATIENCE)
    threading.Timer(0.2, isolated.stop).start()
    with pytest.raises(RunError, match="stopped") as caught:
        isolated.call("hang", PATIENCE)
    assert not isinstance(caught.value, LostError)
    with pytest.raises(RunError, match="stopped"):
        isolated.call("go on", PATIENCE)


def test_large_results_come_whole() -> None:
    with Isolated(big, MEMORY_MB) as isolated:
        assert isolated.call(10_000_000, PATIENCE) == bytes(10_000_000)


def test_the_child_is_bounded_and_alone() -> None:
    with Isolated(circumstances, MEMORY_MB) as isolated:
        assert isolated.call(0, PATIENCE) == {
            "threads": 1,
            "deaf to Ctrl-C": 1,
            "bytes": MEMORY_MB << 20,
        }


def test_threads_take_one_each() -> None:
    pids: list[object] = []

    def work() -> None:
        with Isolated(obey, MEMORY_MB) as isolated:
            pids.extend(isolated.call("go on", PATIENCE) for _ in range(3))

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (len(pids), len(set(pids))) == (9, 3)
    assert not set(children()) - BEFORE


def test_what_cannot_be_imported_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = ModuleType("nowhere_to_be_found")
    exec("def work(item): return item", nowhere.__dict__)
    monkeypatch.setitem(sys.modules, "nowhere_to_be_found", nowhere)
    with (
        Isolated(nowhere.work, MEMORY_MB) as isolated,
        pytest.raises(RunError, match="cannot start: it ended with exit code 1"),
    ):
        isolated.call("go on", PATIENCE)
    assert not set(children()) - BEFORE


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_no_child_outlives_its_parent(end: signal.Signals) -> None:
    script = (
        "from pipelines.workers.isolation import Isolated\n"
        "from tests.pipelines.workers.test_isolation import obey\n"
        "isolated = Isolated(obey, 400)\n"
        "print(isolated.call('go on', 60), flush=True)\n"
        "isolated.call('hang', 600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    try:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert start_time(child)
    finally:
        parent.send_signal(end)
        parent.communicate()
    deadline = time.monotonic() + 20
    while start_time(child):
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.02)

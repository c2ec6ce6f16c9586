"""The lease of a bucket: one holder, renewed, dead with its holder, taken over by one."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from storage.errors import LockedError
from storage.processes import identity
from storage.stores.s3 import BucketStore, client, lease
from tests.bucket import SECRET_KEY, SESSION_TOKEN
from tests.fault_proxy import Rules

Faulty = tuple[BucketStore, Rules]

HOLDER = """
import sys, time
from storage import processes
from storage.stores.s3 import BucketStore
from storage.stores.s3 import lease
lease.RENEW_SECONDS, lease.EXPIRY_SECONDS, lease.SETTLE_SECONDS = 0.2, 3.0, 0.3
if sys.argv[2] == "elsewhere":
    processes.pid_space = lambda: "another machine"
with BucketStore(sys.argv[1]).alone("locks/unit", "packing unit 3"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.2)
    monkeypatch.setattr(lease, "EXPIRY_SECONDS", 3.0)
    monkeypatch.setattr(lease, "SETTLE_SECONDS", 0.1)


@contextmanager
def holder(store: BucketStore, where: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, store.url, where], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def try_once(store: BucketStore) -> bool:
    try:
        with store.alone("locks/unit", "packing unit 3"):
            return True
    except LockedError:
        return False


def wait_until_free(store: BucketStore) -> None:
    while not try_once(store):
        time.sleep(0.1)


@pytest.mark.parametrize("conditional", [True, False])
def test_a_dead_holder_elsewhere_loses_its_lease_in_time(faulty: Faulty, conditional: bool) -> None:
    store, rules = faulty
    rules.conditional = conditional
    with holder(store, "elsewhere") as process:
        version = store.seen("locks/unit")
        while store.seen("locks/unit") == version:
            time.sleep(0.05)
        message = rf"packing unit 3 is being done .*pid {process.pid} on .*wait"
        with pytest.raises(LockedError, match=message), store.alone("locks/unit", "packing unit 3"):
            pass
        process.kill()
        process.wait()
        assert not try_once(store)
        wait_until_free(store)


def test_a_dead_holder_here_is_known_at_once(
    faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = faulty
    monkeypatch.setattr(lease, "EXPIRY_SECONDS", 1e9)
    with holder(store, "here") as process:
        assert not try_once(store)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert try_once(store)


def test_a_live_holder_keeps_its_lease_beyond_its_time(faulty: Faulty) -> None:
    store, _ = faulty
    with holder(store, "elsewhere"):
        begin = time.monotonic()
        while time.monotonic() < begin + 4.5:
            assert not try_once(store)
            time.sleep(0.2)


@pytest.mark.parametrize("dead", [False, True])
def test_of_many_that_want_it_one_gets_it(faulty: Faulty, dead: bool) -> None:
    store, _ = faulty
    if dead:
        gone = {**identity(), "start": "0"}
        store.write("locks/unit", json.dumps(gone).encode())
    start, all_tried = threading.Barrier(8), threading.Barrier(8)
    held = []

    def claim(number: int) -> None:
        start.wait()
        try:
            with store.alone("locks/unit", "packing unit 3"):
                held.append(number)
                all_tried.wait()
        except LockedError:
            all_tried.wait()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(claim, range(8)))
    assert len(held) == 1
    assert store.seen("locks/unit") is None


def test_a_lease_taken_over_is_told_to_its_holder(
    faulty: Faulty, caplog: pytest.LogCaptureFixture
) -> None:
    store, _ = faulty
    with caplog.at_level(logging.WARNING), store.alone("locks/unit", "packing unit 3"):
        store.write("locks/unit", b'{"token": "of another"}')
        while "taken over by another process" not in caplog.text:
            time.sleep(0.02)
    assert store.read("locks/unit") == b'{"token": "of another"}'


@pytest.mark.parametrize("kind", ["refuse", "forget", "status"])
def test_a_lease_survives_the_network(
    faulty: Faulty, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    store, rules = faulty
    rules.add(kind, "PUT", "locks/unit", amount=503, times=1)
    rules.add(kind, "PUT", "locks/unit", amount=503, first=2, times=2)
    with store.alone("locks/unit", "packing unit 3"):
        while rules.count("PUT", "locks/unit") < 6:
            time.sleep(0.02)
        assert not try_once(store)
    assert store.seen("locks/unit") is None
    assert "taken over" not in caplog.text


def test_a_lease_that_cannot_be_renewed_for_a_while_goes_on(
    faulty: Faulty, caplog: pytest.LogCaptureFixture
) -> None:
    store, rules = faulty
    with store.alone("locks/unit", "packing unit 3"):
        fault = rules.add("status", "PUT", "locks/unit", amount=507, times=2)
        while fault.met < 4:
            time.sleep(0.02)
    assert "cannot renew the lease of packing unit 3" in caplog.text
    assert "taken over" not in caplog.text
    assert store.seen("locks/unit") is None


def test_a_lease_that_cannot_be_given_back_ends_by_itself(
    faulty: Faulty, caplog: pytest.LogCaptureFixture
) -> None:
    store, rules = faulty
    with store.alone("locks/unit", "packing unit 3"):
        rules.add("status", "DELETE", "locks/unit", amount=403)
    assert "cannot release a lease" in caplog.text
    wait_until_free(store)


@pytest.mark.parametrize("text", [b"", b"[1]", b"\xff", b'{"pid": "x", "space": 3}'])
def test_a_strange_lease_is_respected_until_it_ends(faulty: Faulty, text: bytes) -> None:
    store, _ = faulty
    store.write("locks/unit", text)
    assert not try_once(store)


def test_a_lease_says_who_holds_it_and_nothing_secret(faulty: Faulty) -> None:
    store, _ = faulty
    with store.alone("locks/unit", "packing unit 3"):
        text = store.read("locks/unit").decode()
    said = json.loads(text)
    assert said["pid"] == os.getpid()
    assert said["what"] == "packing unit 3"
    assert SECRET_KEY not in text
    assert SESSION_TOKEN not in text


def test_a_forked_child_gives_nothing_back(faulty: Faulty) -> None:
    """In a process of its own, which has no threads but the lease's."""
    store, _ = faulty
    script = (
        "import os, sys, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "from storage.stores.s3 import BucketStore\n"
        "store = BucketStore(sys.argv[1])\n"
        "child = 0\n"
        "with store.alone('locks/unit', 'work'):\n"
        "    child = os.fork()\n"
        "    if child:\n"
        "        assert os.waitpid(child, 0)[1] == 0\n"
        "        assert store.seen('locks/unit')\n"
        "assert child == 0 or store.seen('locks/unit') is None\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", script, store.url], check=True)


def test_no_thread_outlives_its_lease(faulty: Faulty) -> None:
    store, _ = faulty
    with store.alone("locks/unit", "work"):
        assert any(thread.name == "lease" for thread in threading.enumerate())
    assert not any(thread.name == "lease" for thread in threading.enumerate())
    assert client.client()

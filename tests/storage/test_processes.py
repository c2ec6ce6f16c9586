"""A process is told from every other for good, and does not outlive the one that started it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from storage.processes import boot_id, bound, identity, is_alive, start_time

SECONDS = 20
SLEEPER = [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"]


def wait_until(so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_we_live() -> None:
    who = identity()
    assert who["pid"] == os.getpid()
    assert who["boot"] == boot_id() != ""
    assert is_alive(who)


@pytest.mark.parametrize("change", [{"boot": "another"}, {"start": "1"}, {"pid": 2**22 + 1}])
def test_whoever_has_our_pid_is_not_us(change: dict[str, int | str]) -> None:
    assert not is_alive(identity() | change)


def test_a_note_without_a_boot_is_of_nobody() -> None:
    assert not is_alive({})


def test_a_process_lives_until_it_has_ended() -> None:
    """A zombie, not yet waited for, is dead; whatever its name looks like."""
    child = subprocess.Popen(["bash", "-c", "exec -a ') Z (' sleep 60"], stdout=subprocess.DEVNULL)
    began = start_time(child.pid)
    assert began.isdigit()
    assert int(began) >= int(start_time(os.getpid()))
    child.kill()
    wait_until(lambda: start_time(child.pid) == "")
    assert child.wait() == -signal.SIGKILL
    assert start_time(child.pid) == ""


def test_bound_becomes_its_command() -> None:
    code = "import os, sys; print(os.getpid(), sys.argv[1:]); sys.exit(7)"
    with subprocess.Popen(
        bound([sys.executable, "-c", code, "a b", "--c"]), stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        assert child.stdout.read() == f"{child.pid} ['a b', '--c']\n"
    assert child.returncode == 7


def test_bound_ends_with_its_parent() -> None:
    code = (
        "import subprocess, sys; from storage.processes import bound\n"
        "child = subprocess.Popen(bound(sys.argv[1:]), stdout=subprocess.PIPE)\n"
        "print(child.pid, child.stdout.readline().decode(), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, *SLEEPER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline().split()[0])
        assert start_time(pid)
        parent.kill()
    wait_until(lambda: not start_time(pid))


def test_bound_hears_an_interruption_though_a_script_ignores_them() -> None:
    """A shell starts its background jobs with SIGINT ignored; a bound one listens again."""
    with subprocess.Popen(
        ["bash", "-c", "trap '' INT; exec \"$@\"", "bash", *bound(SLEEPER)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        assert child.stdout
        child.stdout.readline()
        child.send_signal(signal.SIGINT)
        assert child.wait(SECONDS) in (-signal.SIGINT, 130, 1)

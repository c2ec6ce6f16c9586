"""A process is distinguished from every other, and does not outlive the one that started it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import psutil
import pytest

from storage.processes import boot_id, bound, children, identity, is_alive, is_near, start_time

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


@pytest.mark.parametrize("kept", [(), ("boot",), ("pid",), ("boot", "start"), ("boot", "pid")])
def test_a_note_that_was_cut_off_is_of_no_process(kept: tuple[str, ...]) -> None:
    assert not is_alive({name: value for name, value in identity().items() if name in kept})


def test_a_note_of_the_first_release_is_understood() -> None:
    """It had no pid space."""
    note = {"pid": os.getpid(), "boot": boot_id(), "start": start_time(os.getpid())}
    assert is_near(note)
    assert is_alive(note)
    assert not is_alive(note | {"start": "1"})


def test_another_process_can_be_noted() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        note = identity(child.pid)
        assert note["pid"] == child.pid
        assert is_alive(note)
        child.kill()
        child.wait()
        assert not is_alive(note)


def test_the_start_time_is_when_psutil_says() -> None:
    """An oracle that computes it from the boot time: equal unless the clock was set just now."""
    own = psutil.Process()
    seconds = own.create_time() - psutil.boot_time()
    ticks = os.sysconf("SC_CLK_TCK")
    assert int(start_time(own.pid)) == pytest.approx(seconds * ticks, abs=2 * ticks)


def test_children_are_those_of_all_threads_that_have_not_ended() -> None:
    code = (
        "import subprocess, sys, threading\n"
        "own = subprocess.Popen(['sleep', '60'])\n"
        "begin = lambda: made.append(subprocess.Popen(['sleep', '60']))\n"
        "made = []; thread = threading.Thread(target=begin); thread.start(); thread.join()\n"
        "ended = subprocess.Popen(['true'])\n"
        "print(own.pid, made[0].pid, ended.pid, flush=True); sys.stdin.read()\n"
        "own.kill(); made[0].kill()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdin
        assert parent.stdout
        own, of_thread, ended = map(int, parent.stdout.readline().split())
        assert parent.pid in children()
        wait_until(lambda: start_time(ended) == "")  # a zombie: nobody waits for it
        assert sorted(children(parent.pid)) == sorted([own, of_thread])
        assert own not in children(), "a grandchild is no child"
        parent.stdin.close()
        parent.wait(SECONDS)
    assert children(parent.pid) == []


def test_a_job_starts_without_psutil() -> None:
    """Every job and every worker of torchrun passes through this module."""
    program = "import sys, storage.processes; print('psutil' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


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

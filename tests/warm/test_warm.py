"""A process that hands itself over behaves as one that does its work itself."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.warm import interpreters

SECONDS = 60
TOY = """
import json, os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
told = {"argv": sys.argv[1:], "words": sys.orig_argv, "folder": os.getcwd(), "pid": os.getpid(),
        "note": os.environ.get("NOTE"), "name": __name__, "file": os.path.basename(__file__),
        "read": sys.stdin.read()}
print(json.dumps(told), flush=True)
print("to stderr", file=sys.stderr)
match sys.argv[1]:
    case "wait": time.sleep(600)
    case "raise": raise ValueError("an error")
    case "kill": os.kill(os.getpid(), signal.SIGUSR1)
    case code: sys.exit(int(code))
"""


@pytest.fixture
def warm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a warm interpreter for a module `toy`, which can be imported from there."""
    folder = tmp_path / "warm"
    (folder / "toy").mkdir(parents=True)
    (folder / "toy" / "__init__.py").touch()
    (folder / "toy" / "__main__.py").write_text(TOY)
    interpreters.start(folder, os.environ, "toy")
    yield folder
    interpreters.stop(folder)
    wait_until(lambda: not interpreter(folder))


def interpreter(folder: Path) -> list[int]:
    """Return the interpreter of a folder and its forks."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if {"tests.warm", str(folder)} <= set(process.info["cmdline"] or ())
    ]


def wait_until(so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def start(folder: Path, word: str, *, warm: bool) -> "subprocess.Popen[str]":
    given = {**os.environ, **interpreters.variables(folder), "NOTE": "é"}
    if not warm:
        del given["TESTS_WARM"]
    return subprocess.Popen(
        [sys.executable, "-m", "toy", word, "and more"], env=given, cwd=folder.parent, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("word", ["0", "3", "raise", "kill"])
def test_words_files_and_end_are_the_same(warm: Path, word: str) -> None:
    seen = []
    for hands_over in (True, False):
        with start(warm, word, warm=hands_over) as process:
            out, err = process.communicate("from stdin", timeout=SECONDS)
        told = json.loads(out)
        assert (told.pop("pid") != process.pid) == hands_over
        seen.append((told, err.splitlines()[-1], process.returncode))
    assert seen[0] == seen[1]
    assert seen[0][0]["read"] == "from stdin"


def test_a_signal_is_passed_on(warm: Path) -> None:
    with start(warm, "wait", warm=True) as process:
        fork = waiting(process)
        assert fork in interpreter(warm)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 143
    assert fork not in interpreter(warm)


def test_a_killed_process_takes_its_fork_along(warm: Path) -> None:
    with start(warm, "wait", warm=True) as process:
        fork = waiting(process)
        process.kill()
    wait_until(lambda: fork not in interpreter(warm))
    with start(warm, "0", warm=True) as other:
        assert other.communicate("", timeout=SECONDS)[0], "and the interpreter serves on"


def waiting(process: "subprocess.Popen[str]") -> int:
    """Return the fork that does a process's work, once it waits."""
    assert process.stdin and process.stdout
    process.stdin.close()
    return int(json.loads(process.stdout.readline())["pid"])


def test_where_no_interpreter_is_left_a_process_works_itself(warm: Path) -> None:
    interpreters.stop(warm)
    with start(warm, "3", warm=True) as process:
        told = json.loads(process.communicate("", timeout=SECONDS)[0])
    assert (told["pid"], process.returncode) == (process.pid, 3)

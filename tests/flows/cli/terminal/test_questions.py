"""A question at a terminal of its own: yes, no, Ctrl-C, Ctrl-D, SIGTERM; and with no terminal."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.studies.claims import claim
from flows.studies.table import named
from storage.home.layout import Home

LITTER = "fma/0123456789abcdef/shards/old.tar"
Answered = tuple[int, str]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home in which a study is begun, and a file that belongs to none."""
    home = Home(tmp_path / "home")
    claim(home, named("smoke"), "fma")
    home.write(home.path(LITTER), b"litter")
    return home


def command(home: Home) -> list[str]:
    return [sys.executable, "-m", "flows", "gc", "--home", str(home.root)]


def said_until(terminal: int, last: bytes = b"") -> str:
    """Return what a terminal shows until it shows `last`, or until its program has ended."""
    said = b""
    while not (last and said.endswith(last)):
        try:
            said += os.read(terminal, 1000)
        except OSError:
            break
    return said.decode().replace("\r\n", "\n")


@pytest.fixture
def ask() -> Iterator[Callable[[Home, bytes | signal.Signals], Answered]]:
    """Ask at a terminal, and answer by keys or by a signal; return the code and what was said."""
    ends: list[int] = []

    def answered(home: Home, answer: bytes | signal.Signals) -> Answered:
        child, person = pty.fork()
        if child == 0:
            os.execv(sys.executable, command(home))
        ends.append(person)
        assert "Delete 1 file" in said_until(person, b"[y/N] ")
        if isinstance(answer, bytes):
            os.write(person, answer)
        else:
            os.kill(child, answer)
        said = said_until(person)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said

    yield answered
    for end in ends:
        os.close(end)


@pytest.mark.parametrize(
    ("answer", "code", "kept", "last"),
    [
        (b"y\n", 0, False, "0.0 MB freed in"),
        (b"\n", 0, True, "0.0 MB freed in"),
        (b"maybe\nno\n", 0, True, "0.0 MB freed in"),
        (b"\x03", 130, True, "error: stopped by Ctrl-C; run the same command again to finish"),
        (b"\x04", 2, True, "error: no answer to 'Delete 1 file, 0.0 MB?', so nothing was done"),
        (signal.SIGTERM, 143, True, "error: stopped by SIGTERM; run the same command again"),
    ],
)
def test_answers(
    ask: Callable[[Home, bytes | signal.Signals], Answered],
    home: Home,
    answer: bytes | signal.Signals,
    code: int,
    kept: bool,
    last: str,
) -> None:
    ended, said = ask(home, answer)
    assert ended == code, said
    assert last in said.splitlines()[-1], said
    assert "Traceback" not in said
    assert home.path(LITTER).exists() == kept


def test_nobody_there(home: Home) -> None:
    answer = subprocess.run(
        command(home), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 2
    assert answer.stderr.splitlines()[-1].endswith("agree beforehand with --yes")
    assert home.path(LITTER).exists()

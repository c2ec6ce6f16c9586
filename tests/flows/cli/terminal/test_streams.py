"""A command whose output nobody reads, or whose disk is full: real pipes, real descriptors."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from flows.__main__ import perform
from flows.cli.terminal.endings import guarded
from flows.cli.terminal.streams import CLOSED_PIPE, text_stream
from storage.errors import MachineError
from tests.flows.cli.terminal.test_usage import Words, walk

MACHINE = 5
LARGE = "x" * 100_000
"""More than any buffer holds: it is written at once, and what is shorter when the program ends."""


@pytest.fixture
def closed_pipe() -> Iterator[int]:
    """The writing end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.fixture
def full_disk() -> Iterator[int]:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


@walk
def test_every_command_ends_quietly_where_nobody_reads(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    closed_pipe: int,
    words: Words,
    command: object,
) -> None:
    monkeypatch.setattr(sys, "stdout", text_stream(closed_pipe))
    assert perform([*words, "--help"]) == CLOSED_PIPE
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("text", ["short", LARGE])
def test_a_full_disk_is_said_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, full_disk: int, text: str
) -> None:
    stream = text_stream(full_disk)
    monkeypatch.setattr(sys, "stdout", stream)
    assert guarded(lambda: stream.write(text) and None) == MACHINE
    said = capsys.readouterr().err
    assert said == (
        "error: the output cannot be written: No space left on device; write it somewhere else\n"
    )
    # What is left in the buffers goes nowhere: Python's last flush has nothing to complain about.
    stream.close()


def test_an_error_keeps_its_own_exit_code(
    monkeypatch: pytest.MonkeyPatch, closed_pipe: int
) -> None:
    """Though nobody reads what was printed before it, nor the error."""
    monkeypatch.setattr(sys, "stdout", text_stream(closed_pipe))
    monkeypatch.setattr(sys, "stderr", text_stream(closed_pipe, vital=False))

    def command() -> None:
        sys.stdout.write("short")
        raise MachineError("no disk")

    assert guarded(command) == MACHINE


def run(*words: str, stdout: int | None = None, stderr: int | None = None) -> tuple[int, str]:
    """Return the exit code and, unless it goes elsewhere, what a process said of errors."""
    errors = subprocess.PIPE if stderr is None else stderr
    answer = subprocess.run(
        [sys.executable, "-m", "flows", *words],
        stdout=stdout,
        stderr=errors,
        text=True,
        check=False,
    )
    return answer.returncode, answer.stderr or ""


@pytest.mark.parametrize("words", [["--help"], ["recipe", "list"], ["--version"]])
def test_processes_in_closed_pipes(closed_pipe: int, words: Words) -> None:
    assert run(*words, stdout=closed_pipe) == (CLOSED_PIPE, "")


def test_a_process_whose_disk_is_full(full_disk: int) -> None:
    code, said = run("recipe", "list", stdout=full_disk)
    assert code == MACHINE
    assert said.startswith("error: the output cannot be written")
    assert said.count("\n") == 1


def test_errors_that_nobody_reads(closed_pipe: int) -> None:
    assert run("bogus", stderr=closed_pipe) == (2, "")


def test_closed_descriptors() -> None:
    """Their numbers are taken: no file gets them, and so no output of a child's."""
    command = f"{sys.executable} -m flows {{}} <&- >&- 2>&-"
    assert os.waitstatus_to_exitcode(os.system(command.format("recipe list"))) == 0
    assert os.waitstatus_to_exitcode(os.system(command.format("bogus"))) == 2

"""Each way in which a command ends: one line at most, and its exit code."""

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from flows.cli.terminal import endings
from flows.cli.terminal.endings import Terminated, guarded
from storage.environment import TRACEBACK
from storage.errors import DataError

Command = Callable[[], object]


def raising(error: BaseException) -> Command:
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (lambda: None, 0, ""),
        (lambda: 7, 7, ""),
        (raising(SystemExit()), 0, ""),
        (raising(SystemExit(9)), 9, ""),
        (raising(SystemExit("why not")), 1, "error: why not\n"),
        (raising(typer.Exit(3)), 3, ""),
        (raising(DataError("two\nlines")), 3, "error: two lines\n"),
        (
            raising(typer.BadParameter("no good")),
            2,
            "error: Invalid value: no good\n",
        ),
        (
            raising(KeyboardInterrupt()),
            130,
            "error: stopped by Ctrl-C; run the same command again to finish\n",
        ),
        (
            raising(Terminated()),
            143,
            "error: stopped by SIGTERM; run the same command again to finish\n",
        ),
    ],
)
def test_each_ending(
    capsys: pytest.CaptureFixture[str], command: Command, code: int, said: str
) -> None:
    assert guarded(command) == code
    assert capsys.readouterr() == ("", said)


def broken() -> None:
    raise ZeroDivisionError("of our own\nmaking")


def test_a_mistake_of_ours_is_one_line_and_its_traceback_is_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(TRACEBACK.name, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert guarded(broken) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("error: unexpected ZeroDivisionError: of our own making; please report")
    [kept] = tmp_path.iterdir()
    assert said.endswith(f"with {kept}\n")
    assert re.search(r"in broken\n.*raise ZeroDivisionError", kept.read_text(), re.DOTALL)


def test_a_traceback_that_cannot_be_kept_can_be_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(TRACEBACK.name, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    assert guarded(broken) == 1
    assert capsys.readouterr().err.endswith("; STEMWORKS_TRACEBACK=1 shows where\n")
    monkeypatch.setenv(TRACEBACK.name, "1")
    assert guarded(broken) == 1
    *traceback, last = capsys.readouterr().err.splitlines()
    assert traceback[0] == "Traceback (most recent call last):"
    assert any("in broken" in line for line in traceback)
    assert last == "error: unexpected ZeroDivisionError: of our own making"


def test_sigterm_reaches_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    cleaned = []

    def command() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            cleaned.append(True)

    try:
        endings.take_signals()
        assert guarded(command) == 143
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert cleaned
    assert "stopped by SIGTERM" in capsys.readouterr().err

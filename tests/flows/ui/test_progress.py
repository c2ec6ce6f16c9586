"""Bars in a terminal, plain lines in a log, and of a job's messages those that matter."""

import io
import logging
import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from flows.stage_id import PackId, StageId
from flows.ui import progress
from flows.ui.progress import Board, StageWatch, Terminal

PRETRAIN = StageId("pretrain")


def written(terminal: bool, quiet: bool = False) -> str:
    """Return what a board writes while one stage works and another had been done."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100, _environ={})
    with Board(console, quiet) as board:
        watch = StageWatch(PRETRAIN, board)
        watch(1, 4, "loss -8.31")
        watch(4, 4)
        watch.finish("done in 2.0 s")
        StageWatch(StageId("census"), board).reuse()
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_plain_lines_where_nobody_watches() -> None:
    assert [line.split(maxsplit=1) for line in written(terminal=False).splitlines()] == [
        ["pretrain", "done in 2.0 s"],
        ["census", "cached"],
    ]


def test_bars_in_a_terminal() -> None:
    text = written(terminal=True)
    assert "\x1b[" in text
    assert "done in 2.0 s" in text


def test_who_reads_may_go_away() -> None:
    """As a worker does that is killed, and of which its flow only knows that nobody listens."""
    reader, writer = os.pipe()
    with io.TextIOWrapper(os.fdopen(writer, "wb", buffering=0), write_through=True) as stream:
        os.close(reader)
        with Board(Terminal(file=stream, _environ={})) as board:
            for _ in range(2):
                board.settle(PackId.whole(), "done in 2.0 s")


def test_quiet_says_nothing() -> None:
    assert written(terminal=False, quiet=True).strip() == ""


@settings(deadline=None)
@given(st.floats(0, 1e12), st.floats(0, 1e12), st.text(max_size=80))
def test_any_progress_is_a_share(done: float, total: float, note: str) -> None:
    shares: list[float] = []

    class Recorder(Board):
        def advance(self, what: StageId, share: float, note: str) -> None:
            shares.append(share)

    StageWatch(StageId("x"), Recorder(Console(file=io.StringIO())))(done, total, note)
    assert len(shares) == 1
    assert 0 <= shares[0] <= 1


@settings(deadline=None)
@given(st.text(max_size=80))
def test_a_job_may_print_anything(note: str) -> None:
    """Brackets in a note are not the console's markup."""
    console = Console(file=io.StringIO(), force_terminal=True, width=100, _environ={})
    with Board(console) as board:
        board.advance(PRETRAIN, 0.5, note)
        board.advance(PRETRAIN, 0.6, f"[/{note}]")


def test_a_jobs_lines_are_sampled_and_warnings_never_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(progress, "get_run_logger", lambda: logging.getLogger("job"))
    watch = StageWatch(PRETRAIN, Board(Console(file=io.StringIO())))
    with caplog.at_level(logging.INFO, "job"):
        for number in range(100):
            now += progress.UI_SECONDS / 10
            watch.log(f"line {number}: relative error 0.4")
            if number in (13, 57):
                watch.log(f"disk slow {number}", logging.WARNING)
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["disk slow 13", "disk slow 57"]
    assert 8 <= len(caplog.records) - len(warnings) <= 11

"""What a job reports is read as it was meant: from several processes, and after a crash."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import ConfigError
from storage.home.job_events import (
    EventLog,
    EventReader,
    Failure,
    JobEvent,
    MessageEvent,
    ProgressEvent,
    progress,
    read_failure,
    write_failure,
)
from storage.home.runs import Run


def log_to(run: Run, prefix: str = "") -> logging.Logger:
    log = logging.Logger("job", logging.INFO)
    log.addHandler(EventLog(run, prefix))
    return log


def test_progress_and_messages(tmp_path: Path) -> None:
    run = Run(tmp_path)
    reader, log = EventReader(run), log_to(run)
    assert list(reader.new()) == []
    log.info("step %d/%d", 1, 4, extra=progress(1, 4, "steps", "loss -8"))
    assert list(reader.new()) == [ProgressEvent(done=1, total=4, unit="steps", note="loss -8")]
    log.warning("disk is slow: %s", "2/3 error")
    assert list(reader.new()) == [MessageEvent(level=30, message="disk is slow: 2/3 error")]
    assert list(reader.new()) == []
    assert list(EventReader(run).new()) == [], "an earlier attempt's are over"


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(max_size=30), max_size=5), st.integers(1, 40))
def test_any_text_arrives_however_it_is_cut(texts: list[str], size: int) -> None:
    import tempfile  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as written, tempfile.TemporaryDirectory() as copied:
        log = log_to(Run(Path(written)))
        for text in texts:
            log.info("%s", text)
        source, target = Run(Path(written)).events, Run(Path(copied))
        data = source.read_bytes() if texts else b""
        reader, found = EventReader(target), list[JobEvent]()
        for start in range(0, len(data), size):
            with target.events.open("ab") as stream:
                stream.write(data[start : start + size])
            found += reader.new()
    assert found == [MessageEvent(level=20, message=text) for text in texts]


def test_a_torn_line_is_left_out_and_spoils_no_other(tmp_path: Path) -> None:
    run = Run(tmp_path)
    log_to(run).info("whole")
    with run.events.open("a") as stream:
        stream.write('{"kind": "progress", "do')
    begin = EventReader(Run(tmp_path / "elsewhere"))
    begin._path = run.events
    log_to(run).info("next")
    assert list(begin.new()) == [MessageEvent(level=20, message=text) for text in ("whole", "next")]


WRITER = """
import logging, pathlib, sys
from storage.home.job_events import EventLog
from storage.home.runs import Run
log = logging.Logger("job", logging.INFO)
log.addHandler(EventLog(Run(pathlib.Path(sys.argv[1])), sys.argv[2]))
for number in range(300):
    log.info("%d " + "x" * 500, number)
"""


def test_processes_write_at_once(tmp_path: Path) -> None:
    reader = EventReader(Run(tmp_path))
    words = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*words, f"rank {rank}: "]) for rank in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    found = [one.message for one in reader.new() if isinstance(one, MessageEvent)]
    for rank in range(3):
        own = [text for text in found if text.startswith(f"rank {rank}: ")]
        assert [text.split()[2] for text in own] == [str(number) for number in range(300)]


def test_the_first_failure_is_kept(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert read_failure(run) is None
    write_failure(run, ConfigError("model.outputs\nis 3"), 2, "rank 1: ")
    write_failure(run, RuntimeError("connection reset by peer"), 1)
    said = Failure(error="ConfigError", message="rank 1: model.outputs is 3", exit_code=2)
    assert read_failure(run) == said
    run.failure.write_text('{"error": ')
    assert read_failure(run) is None


def test_a_run_that_is_no_directory_is_not_made_one(tmp_path: Path) -> None:
    write_failure(Run(tmp_path / "nowhere"), ConfigError("it is not there"), 2)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("line", ["[]", '{"kind": "odd"}', '{"kind": "progress", "done": "x"}'])
def test_what_is_no_event_is_left_out(tmp_path: Path, line: str) -> None:
    run = Run(tmp_path)
    reader = EventReader(run)
    run.events.write_text(f"{line}\n")
    assert list(reader.new()) == []

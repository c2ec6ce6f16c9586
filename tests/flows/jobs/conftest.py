"""A run directory whose job is a script of the test's own."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.jobs import launch
from flows.jobs.deadlines import TimeLimit, stopping, within
from storage.home.job_events import JobEvent
from storage.home.runs import Run

ROOT = Path(__file__).parents[3]
SECONDS = 30
SUBSTITUTE = """
import os, runpy, sys, traceback
if "training" in sys.orig_argv[2:4] and "-m" in sys.orig_argv[1:3]:
    try:
        runpy.run_path(os.path.join(sys.orig_argv[-1], "child.py"))
        code = 0
    except SystemExit as stop:
        code = stop.code
    sys.stdout.flush()
    os._exit(code)
"""
"""A sitecustomize.py that puts a run directory's child.py in the place of a job."""

REPORTER = """
import logging, pathlib, sys
from storage.errors import DataError
from storage.home.job_events import EventLog, progress, write_failure
from storage.home.runs import Run
run = Run(pathlib.Path(sys.orig_argv[-1]))
log = logging.getLogger("job")
log.setLevel(logging.INFO)
log.addHandler(EventLog(run))
"""
"""How a job begins that reports events."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A run directory whose job is its child.py; nothing of it may live on."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SUBSTITUTE)
    # The script is run before the folder that the job is started in can be imported from.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), str(ROOT)]))
    stopping.clear()
    yield Run(tmp_path / "run")
    stopping.clear()
    wait_until(lambda: not living(tmp_path / "run"))


def living(root: Path) -> list[int]:
    """Return the processes whose command line ends in this run directory."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(root).encode() in words:
            found.append(int(entry.name))
    return found


def wait_until(so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def do(run: Run, child: str, hours: float = 1.0, verb: str = "select") -> list[JobEvent]:
    """Launch a job that is this script; return its events."""
    run.root.mkdir(exist_ok=True)
    (run.root / "child.py").write_text(child)
    events: list[JobEvent] = []
    with within(TimeLimit(hours, "limits.evaluation_hours"), "stage evaluate"):
        launch.launch(run, verb, 1, events.append)
    return events

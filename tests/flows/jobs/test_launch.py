"""A job is a supervised child: heard, timed, stopped politely, and never left behind."""

import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from flows.jobs import launch
from flows.jobs.deadlines import stop
from flows.jobs.multi_node import TORCHRUN
from storage.errors import (
    LaunchError,
    PreemptedError,
    StoppedError,
    TimeLimitError,
)
from storage.home.job_events import JobEvent, MessageEvent, ProgressEvent
from storage.home.runs import Run
from storage.processes import children, start_time
from tests.flows.jobs.conftest import REPORTER, do, living, wait_until

REPORT = """
import logging, os, pathlib, sys
from storage.home.job_events import EventLog
from storage.home.runs import Run
root = pathlib.Path(__file__).parent
logging.getLogger("job").addHandler(EventLog(Run(root)))
print("begun")
logging.getLogger("job").warning("begun")
"""
SLEEPER = f"{REPORT}\nimport time\ntime.sleep(60)"
SAVER = (
    """
import pathlib, signal, sys, time
def save(*_):
    pathlib.Path(sys.orig_argv[-1], "saved").touch()
    raise SystemExit(0)
signal.signal(signal.SIGTERM, save)
"""
    + SLEEPER
)
STUBBORN = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{SLEEPER}"
BEGUN = MessageEvent(level=logging.WARNING, message="begun")


def test_every_event_is_heard_in_order(run: Run) -> None:
    steps = "for i in range(500): log.info('x', extra=progress(i, 500, 'steps', 'é'))"
    events = do(run, f"{REPORTER}{steps}\nlog.warning('error %d', 3)\nprint('step 7/9')")
    assert events[:-1] == [
        ProgressEvent(done=step, total=500, unit="steps", note="é") for step in range(500)
    ]
    assert events[-1] == MessageEvent(level=logging.WARNING, message="error 3")


def test_a_second_launch_goes_on_in_the_same_log(run: Run) -> None:
    [one] = do(run, f"{REPORTER}log.info('one')\nprint('one')")
    # As of a job that was killed while it wrote.
    with run.events.open("a") as stream:
        stream.write('{"kind": "mess')
    [two] = do(run, f"{REPORTER}log.info('two')\nprint('two')")
    assert [one, two] == [MessageEvent(level=20, message=text) for text in ("one", "two")]
    assert run.log.read_text() == "one\ntwo\n"


def test_what_a_worker_of_torchrun_died_of(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torchrun alone would end with 1 whatever happened to its worker."""
    (run.root).mkdir()
    child = run.root / "worker.py"
    child.write_text("import os\nos.kill(os.getpid(), 9)")
    words = [sys.executable, "-m", TORCHRUN, "--standalone", str(child)]
    monkeypatch.setattr(launch, "torchrun", lambda *_: words)
    monkeypatch.setattr(launch, "_oom_kills", lambda: 0)
    with pytest.raises(PreemptedError, match="train job ended with exit code 137: it was killed"):
        launch.launch(run, "train", 2, lambda _: None)


@pytest.mark.parametrize(("verb", "processes"), [("select", 1), ("train", 1), ("train", 2)])
def test_a_real_job_without_a_job(tmp_path: Path, verb: str, processes: int) -> None:
    """Training in two processes says so through all that torchrun adds."""
    run = Run(tmp_path / "run")
    with pytest.raises(LaunchError, match=r"run is no run directory: .*job\.json is missing") as it:
        launch.launch(run, verb, processes, lambda _: None)
    assert it.value.returncode == 4
    assert f"{verb} job ended with exit code 4" in str(it.value)


def test_past_its_time_it_is_stopped_politely(run: Run) -> None:
    with pytest.raises(TimeLimitError, match=r"exceeded its time limit.*limits\.evaluation_hours"):
        do(run, SAVER, hours=5.0 / 3600)
    assert (run.root / "saved").exists()


def test_torchrun_does_not_cut_a_checkpoint_short(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told to stop, it would kill its workers half a minute later: so only these are told."""
    run.root.mkdir()
    child = run.root / "worker.py"
    child.write_text(SAVER.replace("sys.orig_argv[-1]", repr(str(run.root))))
    words = [sys.executable, "-m", TORCHRUN, "--standalone", str(child)]
    monkeypatch.setattr(launch, "torchrun", lambda *_: words)

    def hear(event: JobEvent) -> None:
        assert event == BEGUN
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch.launch(run, "train", 2, hear)
    assert (run.root / "saved").exists()
    assert "death signal" not in run.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_worker_outlives_its_torchrun(run: Run, number: signal.Signals) -> None:
    """Killed, or told to stop several times at once, torchrun itself ends none of them."""
    run.root.mkdir()
    (run.root / "child.py").write_text(SLEEPER)

    struck: list[int] = []

    def strike(event: JobEvent) -> None:
        assert event == BEGUN
        if struck:
            return
        wait_until(lambda: any(len(children(pid)) == 2 for pid in children()))
        [torchrun] = [pid for pid in children() if len(children(pid)) == 2]
        struck.extend(children(torchrun))
        assert set(struck) <= set(living(run.root))
        for _ in range(5):
            with suppress(ProcessLookupError):
                os.kill(torchrun, number)
        wait_until(lambda: not any(start_time(worker) for worker in struck))

    with pytest.raises((PreemptedError, LaunchError)):
        launch.launch(run, "train", 2, strike)
    assert struck


def test_a_stopped_flow_stops_its_job(run: Run) -> None:
    def stop_soon() -> None:
        wait_until(lambda: run.log.exists() and "begun" in run.log.read_text())
        stop()

    stopper = threading.Thread(target=stop_soon)
    stopper.start()
    with pytest.raises(StoppedError, match="stopped with its flow"):
        do(run, SAVER)
    stopper.join()
    assert (run.root / "saved").exists()


def test_one_that_does_not_listen_is_killed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "GRACE_SECONDS", 0.3)
    with pytest.raises(TimeLimitError, match="exceeded its time limit"):
        do(run, STUBBORN, hours=1.5 / 3600)
    assert run.log.read_text() == "begun\n"


def test_whatever_ends_us_ends_the_child(run: Run) -> None:
    def fall(event: JobEvent) -> None:
        raise KeyboardInterrupt(event)

    run.root.mkdir()
    (run.root / "child.py").write_text(SAVER)
    with pytest.raises(KeyboardInterrupt, match="begun"):
        launch.launch(run, "select", 1, fall)
    assert (run.root / "saved").exists()


def test_the_child_is_in_a_session_of_its_own(run: Run) -> None:
    do(run, "import os\nprint(os.getsid(0) == os.getpid(), os.getppid())")
    assert run.log.read_text() == f"True {os.getpid()}\n"


def test_a_killed_parent_leaves_no_child(run: Run) -> None:
    run.root.mkdir()
    (run.root / "child.py").write_text(SLEEPER)
    code = (
        "import sys; from pathlib import Path; from flows.jobs.launch import *\n"
        "launch(Run(Path(sys.argv[1])), 'select', 1, lambda one: print(one.message, flush=True))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(run.root)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "begun\n"
        assert len(living(run.root)) == 2
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not living(run.root))

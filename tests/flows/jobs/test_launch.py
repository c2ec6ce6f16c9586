"""A job is a supervised child: heard, timed, stopped politely, and never left behind."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from flows.jobs import launch
from flows.jobs.deadlines import TimeLimit, stop, stopping, within
from flows.jobs.multi_node import TORCHRUN
from storage.errors import (
    LaunchError,
    MachineError,
    PreemptedError,
    StoppedError,
    TimeLimitError,
)
from storage.home.job_events import JobEvent, MessageEvent, ProgressEvent
from storage.home.runs import Run
from storage.processes import children, start_time
from tests.small_disk import on_small_disks, small_disk

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
SECONDS = 30
BEGUN = MessageEvent(level=logging.WARNING, message="begun")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A run directory whose job is its child.py; nothing of it may live on."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SUBSTITUTE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
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


def do(run: Run, child: str, hours: float = 1.0, verb: str = "select") -> list[JobEvent]:
    """Launch a job that is this script; return its events."""
    run.root.mkdir(exist_ok=True)
    (run.root / "child.py").write_text(child)
    events: list[JobEvent] = []
    with within(TimeLimit(hours, "limits.evaluation_hours"), "stage evaluate"):
        launch.launch(run, verb, 1, events.append)
    return events


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


def test_a_failure_carries_the_childs_own_sentence(run: Run) -> None:
    child = f"{REPORTER}print('step 1')\nwrite_failure(run, DataError('no shards in here'), 3)\n"
    child += "print('error: bye')\nraise SystemExit(3)"
    with pytest.raises(LaunchError, match="exit code 3: no shards in here") as caught:
        do(run, child)
    assert caught.value.returncode == caught.value.exit_code == 3
    assert caught.value.tail.splitlines()[0] == "step 1"
    # What the last launch said is not what this one says.
    with pytest.raises(LaunchError, match=r"exit code 7: see the end of .*log\.txt") as caught:
        do(run, "raise SystemExit(7)")
    assert caught.value.tail == ""
    assert caught.value.exit_code == LaunchError.exit_code


@on_small_disks
def test_a_job_that_finds_no_room_for_its_words(tmp_path: Path, run: Run) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        child = f"""
import os
print("step 1", flush=True)
with open({str(disk.root / "ballast")!r}, "wb") as ballast:
    room = os.statvfs(ballast.fileno())
    os.posix_fallocate(ballast.fileno(), 0, room.f_bavail * room.f_frsize)
print("step 2 " * 1000 + "\\nerror: cannot write a checkpoint", flush=True)
"""
        said = r"select job ended with exit code 1, and could not say why: no space is left under "
        with pytest.raises(MachineError, match=rf"{said}{disk.root}/full; free some, or use anoth"):
            do(Run(disk.root / "full"), child)


@pytest.mark.parametrize("code", [75, 130, 143, -signal.SIGTERM])
def test_whoever_was_told_to_stop_may_go_on(run: Run, code: int) -> None:
    end = f"os.kill(os.getpid(), {-code})" if code < 0 else f"raise SystemExit({code})"
    with pytest.raises(PreemptedError, match=f"exit code {code}: it was told to stop") as caught:
        do(run, f"import os\n{end}")
    assert caught.value.returncode == code


@pytest.mark.parametrize("oom_kills", [[3, 3], [3, 4]])
def test_a_killed_child_is_told_from_a_oom_kills_one(
    run: Run, monkeypatch: pytest.MonkeyPatch, oom_kills: list[int]
) -> None:
    """The kernel counts whom it kills because memory ran out; trying again would not help these."""
    counts = iter(oom_kills)
    monkeypatch.setattr(launch, "_oom_kills", lambda: next(counts))
    with pytest.raises(LaunchError, match="exit code -9") as caught:
        do(run, "import os\nos.kill(os.getpid(), 9)")
    assert caught.value.returncode == -signal.SIGKILL
    starved = oom_kills[0] != oom_kills[1]
    assert isinstance(caught.value, PreemptedError) != starved
    assert ("memory ran out" in str(caught.value)) == starved


def test_the_kernel_is_asked_about_memory() -> None:
    vmstat = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    assert launch._oom_kills() >= int(vmstat["oom_kill"])


def test_what_a_worker_of_torchrun_died_of(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torchrun alone would end with 1 whatever happened to its worker."""
    (run.root).mkdir()
    child = run.root / "worker.py"
    child.write_text("import os\nos.kill(os.getpid(), 9)")
    words = [sys.executable, "-m", TORCHRUN, "--standalone", str(child)]
    monkeypatch.setattr(launch, "torchrun", lambda *_: words)
    monkeypatch.setattr(launch, "_oom_kills", lambda: 0)
    with pytest.raises(PreemptedError, match="train job ended with exit code 137: it was killed"):
        launch.launch(run, "train", 1, lambda _: None)


@pytest.mark.parametrize("verb", ["select", "train"])
def test_a_real_job_without_a_job(tmp_path: Path, verb: str) -> None:
    """Training says so through all that torchrun adds."""
    run = Run(tmp_path / "run")
    with pytest.raises(LaunchError, match=r"run is no run directory: .*job\.json is missing") as it:
        launch.launch(run, verb, 1, lambda _: None)
    assert it.value.returncode == 4
    assert f"{verb} job ended with exit code 4" in str(it.value)


def test_past_its_time_it_is_stopped_politely(run: Run) -> None:
    with pytest.raises(TimeLimitError, match=r"exceeded its time limit.*limits\.evaluation_hours"):
        do(run, SAVER, hours=1.5 / 3600)
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
        launch.launch(run, "train", 1, hear)
    assert (run.root / "saved").exists()
    assert "death signal" not in run.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_worker_outlives_its_torchrun(run: Run, number: signal.Signals) -> None:
    """Killed, or told to stop several times at once, torchrun itself ends none of them."""
    run.root.mkdir()
    (run.root / "child.py").write_text(SLEEPER)

    def strike(event: JobEvent) -> None:
        assert event == BEGUN
        [torchrun] = [pid for pid in children() if len(children(pid)) == 1]
        [worker] = children(torchrun)
        assert worker in living(run.root)
        for _ in range(5):
            with suppress(ProcessLookupError):
                os.kill(torchrun, number)
        wait_until(lambda: not start_time(worker))

    with pytest.raises((PreemptedError, LaunchError)):
        launch.launch(run, "train", 1, strike)


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

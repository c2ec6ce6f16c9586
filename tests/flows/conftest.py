"""The whole works on tiny archives: a Prefect server of their own, and homes to run studies in."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.server.settings import ServerSettings, shared_environment
from tests import synthesised
from tests.once import WORKER, one_at_a_time, session_folder, together
from tests.processes import commands
from tests.services import free_port
from tests.warm import interpreters

LIMIT_SECONDS = 600
HOST = f"tests-{WORKER}"
"""Under which the runs of this worker's tests share this machine: the server is for all workers."""
SLOTS = 8
"""For GPU jobs and for packing tasks of one worker, on the tests' server."""
STAGES = (
    "check fma", "check metadata", "check musdb", "plan fma", "pack 0000 to 0001",
    "pack 0002 to 0003", "pack 0004", "pack", "census", "unpack musdb", "detect activity",
    "pretrain", "select channels", "finetune", "train from scratch", "evaluate finetune",
    "evaluate train from scratch", "report",
)  # fmt: skip
BATCHES = {"pack 0000 to 0001", "pack 0002 to 0003", "pack 0004"}
"""Of units that are missing; a rerun that misses none has no such task."""
REDONE = tuple(name for name in STAGES if name not in BATCHES)
EVALUATIONS = {"evaluate finetune", "evaluate train from scratch"}


@dataclass(frozen=True)
class Works:
    """The command line, as a person would use it."""

    state: Path
    """Where heartbeats are, and the record of the server."""
    port: int
    archives: Path
    warm: Path | None = None
    """Where warm interpreters are, for commands that run to their end."""

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.variables}

    @property
    def variables(self) -> dict[str, str]:
        """Variables that name the tests' own server."""
        return {
            "STEMWORKS_STATE": str(self.state),
            "STEMWORKS_SERVER_PORT": str(self.port),
            "STEMWORKS_HOST": HOST,
        }

    def order(self, flow: str, home: Path | str, *settings: str) -> list[str]:
        """Return the command that runs the tiny study, or a part of it."""
        given = [
            "synthesis=null",
            f"data.root={self.archives}",
            "fma.archive=fma_tiny.zip",
            "fma.metadata=fma_tiny_metadata.zip",
            "musdb.archive=musdb_tiny.zip",
            "fma.unit_tracks=2",
            "fma.units_per_task=2",
            "fma.error_budget=0.5",
            *settings,
        ]
        overrides = [word for setting in given for word in ("--set", setting)]
        return ["run", flow, "--recipe", "smoke", "--home", str(home), *overrides]

    def __call__(
        self, *arguments: str, environment: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run one command to its end."""
        warmed = interpreters.variables(self.warm) if self.warm else {}
        return subprocess.run(
            [sys.executable, "-m", "flows", *arguments],
            env=self.environment | warmed | (environment or {}),
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )

    def start(self, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
        """Start one command, to be watched, stopped or killed: in processes of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "flows", *arguments],
            env=self.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def api(self, path: str, body: Any = None, method: str = "POST") -> Any:
        """Ask the Prefect server; wait while it is busy."""
        url = f"http://127.0.0.1:{self.port}/api/{path}"
        sent = None if method == "DELETE" else body or {}
        deadline = time.monotonic() + 60
        # What a busy SQLite answers.
        while (answer := httpx.request(method, url, timeout=60, json=sent)).status_code == 503:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def states(self, run: str) -> dict[str, str]:
        """Return the state name of each task that a flow run began, once the server knows all.

        It digests what happened some seconds late: it knows all when nothing changes any more.
        """
        deadline, before = time.monotonic() + 60, None
        asked = {"flow_runs": {"id": {"any_": [run]}}, "limit": 200}
        while True:
            rows = self.api("task_runs/filter", asked)
            names = {row["name"]: row["state"]["name"] for row in rows if row["start_time"]}
            settled = names and names == before and "Running" not in names.values()
            if settled or time.monotonic() > deadline:
                return names
            before = names
            time.sleep(1.0)

    def last_run(self, home: Path | str = "") -> dict[str, Any]:
        """Return the flow run that was started last: in a home, or in any."""
        # What schedules have planned is first in this order, too.
        begun = {"flow_runs": {"start_time": {"is_null_": False}}}
        rows = self.api("flow_runs/filter", {**begun, "sort": "START_TIME_DESC", "limit": 100})
        return next(row for row in rows if not home or row["parameters"].get("home") == str(home))


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Works]:
    """The server and the tiny archives of all workers."""
    folder = session_folder(tmp_path_factory, "works")
    port, archives = folder / "port", folder / "archives"

    def works() -> Works:
        return Works(folder / "state", int(port.read_text()), archives, folder / "warm")

    def begin() -> None:
        port.write_text(str(free_port()))
        archives.mkdir(exist_ok=True)
        synthesised.write_fma(archives)
        synthesised.write_musdb(archives)
        answer = works()("ui")
        assert answer.returncode == 0, answer.stderr
        (folder / "warm").mkdir(exist_ok=True)
        server = ServerSettings(folder / "state", "127.0.0.1", works().port)
        # Prefect sets up its logging when it is imported.
        given = os.environ | shared_environment(server)
        interpreters.start(folder / "warm", given, "flows", "training")

    def end() -> None:
        interpreters.stop(folder / "warm")
        works()("down")

    with together(folder, begin, end):
        yield works()


@pytest.fixture(scope="session")
def works(served: Works, tmp_path_factory: pytest.TempPathFactory) -> Works:
    """The command line of one machine: its heartbeats and its limits are this worker's alone."""
    state = tmp_path_factory.mktemp("state")
    shutil.copy(served.state / "server.json", state)
    works = replace(served, state=state)
    # Runs that tests kill hold their slots until their leases end: no test is to wait for that.
    for kind in ("gpu", "packing"):
        works.api("v2/concurrency_limits/", {"name": f"{kind}:{HOST}", "limit": SLOTS})
    return works


@pytest.fixture(scope="session")
def finished(works: Works, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the tiny study ran without interruption; of all workers, and to be read."""
    folder = session_folder(tmp_path_factory, "finished")
    home, run = folder / "home", folder / "run.txt"
    with one_at_a_time(folder):
        if not run.exists():
            answer = works(*works.order("study", home))
            assert answer.returncode == 0, answer.stdout + answer.stderr
            run.write_text(works.last_run(home)["id"])
    return home


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished home, to damage."""
    return Path(shutil.copytree(finished, tmp_path / "home"))


@pytest.fixture
def unevaluated(copied: Path) -> Path:
    """A copy of the finished home whose evaluations are yet to do."""
    for folder in (copied / "marks").glob("evaluate*"):
        for mark in folder.iterdir():
            mark.unlink()
    return copied


@pytest.fixture
def obstacle(tmp_path: Path) -> Path:
    """While this file is there, evaluation fails where its folder is on the PYTHONPATH."""
    flag = tmp_path / "obstacle"
    flag.touch()
    (tmp_path / "sitecustomize.py").write_text(
        "import json, pathlib, sys\n"
        f"if 'evaluate' in sys.orig_argv and pathlib.Path({str(flag)!r}).exists():\n"
        "    failure = pathlib.Path(sys.orig_argv[-1], 'failure.json')\n"
        "    why = {'error': 'DataError', 'message': 'no test songs today', 'exit_code': 9}\n"
        "    failure.write_text(json.dumps(why))\n"
        "    sys.exit(9)\n"
    )
    return flag


def kill_when(process: "subprocess.Popen[str]", ready: Callable[[], bool]) -> None:
    """SIGKILL a process as soon as something is so."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not ready():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def shard_bytes(home: Path) -> dict[str, bytes]:
    """Return every shard of a home by its name."""
    return {path.name: path.read_bytes() for path in sorted(home.glob("fma/*/shards/*.tar"))}


def scores(home: Path) -> list[dict[str, Any]]:
    """Return every score of a home, whatever run it came from."""
    lines = [
        json.loads(line)
        for path in home.glob("runs/evaluate-*/result/scores.jsonl")
        for line in path.read_text().splitlines()
    ]
    return sorted(lines, key=lambda row: json.dumps(row, sort_keys=True))


def wait_for_no_job(home: Path) -> None:
    """The training child dies with the killed orchestrator."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        # A server of the home has its path in its command line, too.
        jobs = [line for _, words in commands() if f"{home}/runs/" in (line := " ".join(words))]
        if not jobs:
            return
        assert time.monotonic() < deadline, jobs
        time.sleep(0.2)

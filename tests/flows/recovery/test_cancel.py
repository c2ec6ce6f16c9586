"""A job that was killed or cancelled resumes from its checkpoint and not from step 0."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from flows.ui.run_card import KEY
from tests.flows.conftest import LIMIT_SECONDS, Works, wait_for_no_job
from tests.flows.deploy.test_serve import _deployment, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.apart]

STEPS = "pretraining.loop.steps=5000"


class Training:
    """The pre-training of a home, as its run directory shows it."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def log(self) -> str:
        return "".join(path.read_text() for path in self.home.glob("runs/train-*/log.txt"))

    def resumed(self) -> list[int]:
        """Return the steps after which it resumed."""
        return [int(step) for step in re.findall(r"resuming after step (\d+)", self.log())]

    def checkpoints(self) -> list[int]:
        folders = self.home.glob("runs/train-*/checkpoints/step-*")
        return sorted(int(path.name.partition("-")[2]) for path in folders)

    def workers(self) -> list[int]:
        """Return the processes that train, without their supervisors."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(FileNotFoundError, ProcessLookupError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if b"training.torchrun" not in words and b"train" in words:
                    found += (
                        [int(entry.name)] if str(self.home).encode() in b" ".join(words) else []
                    )
        return found


@pytest.fixture
def training(tmp_path: Path) -> Training:
    return Training(tmp_path / "home")


@pytest.fixture
def started(works: Works, training: Training) -> Iterator["subprocess.Popen[str]"]:
    """A pre-training that a command line started, and that has a checkpoint."""
    process = works.start(*works.order("pretrain", training.home, "name=cancelled", STEPS))
    wait_for(training.checkpoints, process)
    yield process
    process.kill()
    process.communicate()
    wait_for_no_job(training.home)


def test_a_killed_job_is_retried_and_a_cancelled_one_resumes_when_run_again(
    works: Works, training: Training, started: "subprocess.Popen[str]"
) -> None:
    run = _run(works, "pretrain cancelled")
    [worker] = training.workers()
    os.kill(worker, signal.SIGKILL)
    wait_for(training.resumed, started)
    assert training.resumed()[0] >= 1
    answer = works("cancel", "pretrain cancelled", "--json")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert json.loads(answer.stdout) == {
        "run": "pretrain cancelled", "id": run["id"], "state": "Cancelled",
    }  # fmt: skip
    said = started.communicate(timeout=LIMIT_SECONDS)[0]
    assert started.returncode == 143, said
    assert "the run was cancelled; run the same command again to resume" in said
    assert "Traceback" not in said
    assert works.states(run["id"])["pretrain"] == "Cancelled"
    [stopped] = re.findall(r"stopped by a signal after step (\d+)", training.log())
    assert training.checkpoints()[-1] == int(stopped)

    again = works.start(*works.order("pretrain", training.home, "name=cancelled", STEPS))
    wait_for(lambda: len(training.resumed()) > 1, again)
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=LIMIT_SECONDS)
    assert again.returncode == 143
    assert training.resumed()[-1] == int(stopped)


def test_nothing_to_cancel(works: Works) -> None:
    answer = works("cancel", "no such run")
    assert answer.returncode == 2
    assert "no run 'no such run' is unfinished" in answer.stderr


def test_a_crashed_deployed_run_restarts_and_is_cancelled_from_the_ui(
    works: Works, training: Training
) -> None:
    order = works.order("pretrain", training.home, "name=crashed", STEPS)[1:]
    server = works.start("serve", *order)
    try:
        deployment = wait_for(lambda: _deployment(works, "pretrain-crashed"), server)
        run = works.api(f"deployments/{deployment['id']}/create_flow_run", {})["id"]
        wait_for(training.checkpoints, server)
        heartbeat = works.state / "live-runs" / f"{run}.json"
        os.kill(json.loads(heartbeat.read_text())["pid"], signal.SIGKILL)
        wait_for(training.resumed, server)
        again = _row(works, run)
        assert (again["run_count"], again["state"]["name"]) == (2, "Running")
        owned = {"key": {"any_": [KEY]}, "flow_run_id": {"any_": [run]}}
        cards = works.api("artifacts/filter", {"artifacts": owned, "sort": "CREATED_DESC"})
        headings = [card["data"].partition("\n")[0] for card in cards]
        assert headings == ["## pretrain crashed: running", "## pretrain crashed: crashed"]
        # What the UI's Cancel button sends.
        works.api(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
        wait_for(lambda: _row(works, run)["state"]["name"] == "Cancelled", server)
        wait_for_no_job(training.home)
        assert "stopped by a signal" in training.log()
    finally:
        server.send_signal(signal.SIGINT)
        output = server.communicate(timeout=LIMIT_SECONDS)[0]
    assert (
        "Run 'pretrain crashed' crashed: its process has died. It restarts automatically" in output
    )


def _row(works: Works, run: str) -> dict[str, Any]:
    row: dict[str, Any] = works.api("flow_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})[0]
    return row


def _run(works: Works, name: str) -> dict[str, Any]:
    rows = works.api("flow_runs/filter", {"flow_runs": {"name": {"any_": [name]}}})
    found: dict[str, Any] = rows[0]
    return found

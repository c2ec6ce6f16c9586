"""On PostgreSQL the server itself marks crashed runs and restarts them, within a limit."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect.events.schemas.automations import AutomationCore
from prefect.server.events.schemas.automations import Automation
from prefect.server.events.schemas.events import ReceivedEvent
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.recovery.automations import (
    MARK_CRASHED,
    RESTART_CRASHED,
    crash_automation,
    restart_automation,
)
from flows.recovery.crash_detection import mark_crashed
from flows.ui.states import STEMWORKS_TAG
from storage.files import write_json
from storage.processes import identity
from tests.flows.conftest import Works
from tests.services import PrefectServer, postgres, prefect_server

SECONDS = 300
SERVED = """
import os, pathlib, sys, time
from prefect import flow

@flow(name="lost", persist_result=False)
def lost(note: str) -> None:
    pathlib.Path(note).write_text(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    lost.serve(name="lost", tags=["stemworks"], pause_on_shutdown=False)
"""


DEPLOYED, OURS = ("deployment", "prefect.deployment.some"), ("tag", "prefect.tag.stemworks")


def event(name: str, count: int, *related: tuple[str, str]) -> ReceivedEvent:
    """Return the event of a run that was started so many times."""
    now = datetime.now(UTC)
    run = {"prefect.resource.id": f"prefect.flow-run.{uuid4()}", "prefect.run-count": str(count)}
    beside = [{"prefect.resource.role": role, "prefect.resource.id": one} for role, one in related]
    return ReceivedEvent.model_validate(
        {"occurred": now, "received": now, "id": uuid4(), "event": f"prefect.flow-run.{name}",
         "resource": run, "related": beside}
    )  # fmt: skip


def as_the_server_reads(automation: AutomationCore) -> Any:
    return Automation.model_validate(automation.model_dump(mode="json")).trigger


@pytest.mark.parametrize("resumes", [0, 1, 2])
def test_which_crashes_are_restarted(resumes: int) -> None:
    """By the server's own reading of the trigger."""
    trigger = as_the_server_reads(restart_automation(resumes))
    for count in range(1, 5):
        crash = event("Crashed", count, DEPLOYED, OURS)
        assert trigger.covers(crash) == (count <= resumes)
    assert not trigger.covers(event("Crashed", 1, OURS)), "no runner would start it"
    assert not trigger.covers(event("Crashed", 1, DEPLOYED)), "not a run of Stemworks"
    assert not trigger.expects("prefect.flow-run.Cancelled")
    assert not trigger.expects("prefect.flow-run.Failed")


def test_which_silence_is_a_crash() -> None:
    trigger = as_the_server_reads(crash_automation())
    assert trigger.starts_after("prefect.flow-run.heartbeat")
    assert trigger.covers(event("heartbeat", 1))
    for ended in ("Completed", "Failed", "Cancelled", "Crashed", "Paused", "AwaitingRetry"):
        assert trigger.expects(f"prefect.flow-run.{ended}"), "silence after that is no crash"


@pytest.fixture(scope="module")
def server() -> Iterator[PrefectServer]:
    with postgres() as database, prefect_server(database) as server:
        yield server


def stemworks(
    server: PrefectServer, state: Path, *words: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "flows", *words], capture_output=True, text=True, check=False,
        env={**os.environ, **server.client, "STEMWORKS_STATE": str(state)},
    )  # fmt: skip


def wait_for(question: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + SECONDS
    while not (answer := question()):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return answer


@contextmanager
def serving(server: PrefectServer, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A machine that executes deployed runs; at the end it dies with all its processes."""
    (folder / "served.py").write_text(SERVED)
    with (folder / "serve.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, str(folder / "served.py")], stdout=log, stderr=log, cwd=folder,
            start_new_session=True,
            env={**os.environ, **server.client, "PREFECT_HOME": str(folder),
                 "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"},
        )  # fmt: skip
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_init_twice_installs_each_automation_once(server: PrefectServer, tmp_path: Path) -> None:
    for resumes in ("2", "1"):
        answer = stemworks(
            server, tmp_path, "init", "--database", "postgresql", "--resumes", resumes, "--json"
        )
        assert answer.returncode == 0, answer.stderr
    installed = {one["name"] for one in json.loads(answer.stdout)["installed"]}
    assert {MARK_CRASHED, RESTART_CRASHED} <= installed
    found = httpx.post(f"{server.api}/automations/filter", json={}, timeout=60).json()
    ours = [one for one in found if one["name"] in (MARK_CRASHED, RESTART_CRASHED)]
    assert len(ours) == 2
    [again] = [one for one in ours if one["name"] == RESTART_CRASHED]
    assert again["trigger"]["match"]["prefect.run-count"] in ("1", ["1"]), "the last call counts"


@pytest.mark.slow
def test_the_database_of_another_server_is_asked_for(server: PrefectServer, tmp_path: Path) -> None:
    answer = stemworks(server, tmp_path, "init")
    assert answer.returncode == 2
    assert "give --database postgresql or --database sqlite" in answer.stderr


@pytest.mark.slow
def test_on_sqlite_none_is_installed_and_the_note_says_why(works: Works) -> None:
    answer = works("init", "--json")
    assert answer.returncode == 0, answer.stderr
    said = json.loads(answer.stdout)
    assert "automations lock an SQLite database" in said["note"]
    assert works.api("automations/filter", {}) == []


@pytest.mark.slow
def test_a_dead_machine_s_run_crashes_and_restarts_once(
    server: PrefectServer, tmp_path: Path
) -> None:
    answer = stemworks(server, tmp_path, "init", "--database", "postgresql", "--resumes", "1")
    assert answer.returncode == 0, answer.stderr
    note = tmp_path / "pid"

    def row() -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{server.api}/flow_runs/{run}", timeout=60).json()
        return found

    def states() -> list[str]:
        asked = {"flow_run_id": run}
        found = httpx.get(f"{server.api}/flow_run_states/", params=asked, timeout=60).json()
        return [one["name"] for one in sorted(found, key=lambda one: str(one["timestamp"]))]

    with serving(server, tmp_path):
        deployment = wait_for(
            lambda: httpx.post(f"{server.api}/deployments/filter", json={}, timeout=60).json()
        )[0]["id"]
        run = httpx.post(
            f"{server.api}/deployments/{deployment}/create_flow_run",
            json={"parameters": {"note": str(note)}}, timeout=60,
        ).json()["id"]  # fmt: skip
        wait_for(note.exists)
    assert row()["state"]["name"] == "Running", "no process was left to report its end"
    wait_for(lambda: "AwaitingRetry" in states())
    assert "Crashed" in states()
    note.unlink()
    with serving(server, tmp_path):
        pid = int(wait_for(lambda: note.exists() and note.read_text()))
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: row()["state"]["name"] == "Crashed")
        # The automation sees every crash within a second; this one exceeds its limit.
        counted = wait_for(lambda: _crashes_seen(server, run, 2))
    assert counted
    assert row()["state"]["name"] == "Crashed"
    assert states().count("AwaitingRetry") == 1


@pytest.mark.slow
def test_crash_detection_restarts_a_run_that_never_started(
    server: PrefectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The automation does not: it matches only runs that were `Running`."""
    monkeypatch.setenv("STEMWORKS_STATE", str(tmp_path))
    monkeypatch.setattr("flows.recovery.crash_detection.START_SECONDS", 0.0)
    answer = stemworks(server, tmp_path, "init", "--database", "postgresql", "--resumes", "1")
    assert answer.returncode == 0, answer.stderr
    with httpx.Client(base_url=f"{server.api}/", timeout=60) as http:
        flow = http.post("flows/", json={"name": "never started"}).json()["id"]
        body = {"name": "never started", "flow_id": flow, "tags": [STEMWORKS_TAG]}
        deployment = http.post("deployments/", json=body).json()["id"]
        run = http.post(f"deployments/{deployment}/create_flow_run", json={}).json()["id"]
        http.post(f"flow_runs/{run}/set_state", json={"state": {"type": "PENDING"}})
        runner = {"deployments": [deployment], "pool": "", "start": "1"}
        write_json(tmp_path / "takers" / "runner.json", identity() | runner)
        with temporary_settings({PREFECT_API_URL: server.api}):
            assert len(mark_crashed()) == 1
        wait_for(lambda: _crashes_seen(server, run, 1))
        states = http.get("flow_run_states/", params={"flow_run_id": run}).json()
        http.delete(f"deployments/{deployment}")
    names = [one["name"] for one in sorted(states, key=lambda one: str(one["timestamp"]))]
    assert names == ["Scheduled", "Pending", "Crashed", "AwaitingRetry"]


def _crashes_seen(server: PrefectServer, run: str, times: int) -> bool:
    """Say whether the server has digested so many crashes of a run."""
    asked = {
        "filter": {
            "event": {"name": ["prefect.flow-run.Crashed"]},
            "resource": {"id": [f"prefect.flow-run.{run}"]},
        }
    }
    answer = httpx.post(f"{server.api}/events/filter", json=asked, timeout=60)
    return int(answer.json()["total"]) >= times

"""Runs whose runner died before it started them."""

import os
import signal
import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from flows.recovery.crash_detection import mark_crashed
from flows.recovery.heartbeats import runner_heartbeat
from flows.server.settings import ServerSettings
from storage.files import read_json, write_json
from storage.processes import children, identity
from tests.flows.conftest import LIMIT_SECONDS, Works
from tests.flows.crashed_runs import Server, deployed, names
from tests.flows.deploy.test_serve import wait_for


def dead_runner(deployment: str, seconds_ago: float = 0.0, **process: Any) -> Path:
    """Leave the heartbeat of a runner of a deployment that has died."""
    path = ServerSettings.from_environment().runner_heartbeats / "runner.json"
    known = {"deployments": [deployment], "pool": "", "start": "1"}
    write_json(path, identity() | known | process)
    then = time.time() - seconds_ago
    os.utime(path, (then, then))
    return path


@pytest.fixture
def overdue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every `Pending` run counts as waiting too long."""
    monkeypatch.setattr("flows.recovery.crash_detection.START_SECONDS", 0.0)


def test_a_run_that_never_started_is_given_time_and_restarts(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, deployment = deployed(server)
    server.set(run, "PENDING")
    runner = dead_runner(deployment)
    assert mark_crashed() == [], "its flow may be starting, and outlives its runner"
    assert server.state(run) == "Pending"
    assert runner.exists()
    monkeypatch.setattr("flows.recovery.crash_detection.START_SECONDS", 0.0)
    [crashed] = mark_crashed()
    assert crashed.decision == "It restarts automatically (restart 1 of 2)."
    assert server.state(run) == "AwaitingRetry"
    states = server.ask("GET", f"flow_run_states/?flow_run_id={run}")
    [crash] = [one for one in states if one["name"] == "Crashed"]
    assert crash["message"] == (
        f"The process that was to start it has died, and the run never started. {crashed.decision}"
    )
    assert not runner.exists()


def test_a_run_that_never_starts_is_not_restarted_for_ever(server: Server, overdue: None) -> None:
    run, deployment = deployed(server, resumes=1)
    states = []
    for _ in range(2):
        server.set(run, "PENDING")
        dead_runner(deployment)
        assert names(mark_crashed()) == ["crashed"]
        states.append(server.state(run))
    assert states == ["AwaitingRetry", "Crashed"]
    found = server.ask("GET", f"flow_runs/{run}")
    assert found["run_count"] == 0, "Prefect's own count would never reach the limit"
    assert "started 2 times, and limits.resumes=1" in found["state"]["message"]


def test_a_run_that_another_process_may_start_is_left_alone(server: Server, overdue: None) -> None:
    served, deployment = deployed(server)
    others, _ = deployed(server)
    strangers, strange = deployed(server, tags=[])
    for run in (served, others, strangers):
        server.set(run, "PENDING")
    dead_runner(deployment, seconds_ago=3600)
    assert mark_crashed() == [], "given out after this runner died"
    dead_runner(strange)
    assert mark_crashed() == [], "not a run of Stemworks"
    with runner_heartbeat(deployments=[UUID(deployment)]):
        assert mark_crashed() == [], "its runner is alive"
    [runner] = ServerSettings.from_environment().runner_heartbeats.iterdir()
    write_json(runner, read_json(runner) | {"start": "1"})
    assert names(mark_crashed()) == ["crashed"], "no more"
    states = [server.state(run) for run in (served, others, strangers)]
    assert states == ["AwaitingRetry", "Pending", "Pending"]
    assert not list(ServerSettings.from_environment().runner_heartbeats.iterdir())


def test_a_pool_s_run_that_never_started(server: Server, overdue: None) -> None:
    pools = [f"crashed-{uuid4()}" for _ in range(2)]
    for name in pools:
        server.ask("POST", "work_pools/", {"name": name, "type": "process"})
    runs = [deployed(server, work_pool_name=name)[0] for name in pools]
    for run in runs:
        server.set(run, "PENDING")
    dead_runner("", deployments=[], pool=pools[0])
    try:
        assert names(mark_crashed()) == ["crashed"]
        assert [server.state(run) for run in runs] == ["AwaitingRetry", "Pending"]
    finally:
        for name in pools:
            server.ask("DELETE", f"work_pools/{name}")


def test_any_command_detects_them(works: Works, tmp_path: Path) -> None:
    runner = works.state / "takers" / "runner.json"
    write_json(runner, identity() | {"deployments": [], "pool": "", "start": "1"})
    works("status", "--home", str(tmp_path))
    assert not runner.exists(), "examined; no run was waiting"


@pytest.fixture
def stall(tmp_path: Path) -> Path:
    """While this file exists, a flow's process hangs before it starts its run."""
    flag = tmp_path / "stall"
    flag.touch()
    (tmp_path / "sitecustomize.py").write_text(
        "import os, pathlib, time\n"
        f"flag = pathlib.Path({str(flag)!r})\n"
        "if 'PREFECT__FLOW_RUN_ID' in os.environ and flag.exists():\n"
        "    flag.with_name('stalled').touch()\n"
        "    while flag.exists():\n"
        "        time.sleep(0.1)\n"
    )
    return flag


@pytest.mark.slow
@pytest.mark.parametrize("how", ["serve", "work"])
def test_killed_while_the_flow_was_starting(
    works: Works, server: Server, stall: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Together with its runner, as by a power cut; then a new runner starts."""
    order = works.order("musdb", stall.with_name("home"), f"name=taken-{how}")[1:]
    words = ["serve", *order] if how == "serve" else ["work", "taken"]
    variables = {
        "STEMWORKS_STATE": str(stall.parent),
        "PREFECT_API_URL": f"http://127.0.0.1:{works.port}/api",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PYTHONPATH": str(stall.parent),
    }
    if how == "work":
        assert works("deploy", *order, "--pool", "taken").returncode == 0
    process = works.start(*words, **variables)
    asked = {"deployments": {"name": {"any_": [f"musdb-taken-{how}"]}}}
    [deployment] = wait_for(lambda: works.api("deployments/filter", asked), process)
    made = works.api(f"deployments/{deployment['id']}/create_flow_run", {})
    run = UUID(made["id"])
    wait_for(stall.with_name("stalled").exists, process)
    for pid in (process.pid, *descendants(process.pid)):
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    assert mark_crashed() == []
    assert server.ask("GET", f"flow_runs/{run}")["state"]["type"] == "PENDING"
    monkeypatch.setattr("flows.recovery.crash_detection.START_SECONDS", 0.0)
    assert names(mark_crashed()) == [made["name"]]
    assert server.state(run) == "AwaitingRetry"
    stall.unlink()
    process = works.start(*words, **variables)
    try:
        wait_for(lambda: server.state(run) == "Completed", process)
    finally:
        process.send_signal(signal.SIGINT)
        assert "Traceback" not in process.communicate(timeout=LIMIT_SECONDS)[0]
        server.ask("DELETE", f"deployments/{deployment['id']}")


def descendants(pid: int) -> list[int]:
    return [one for child in children(pid) for one in (child, *descendants(child))]

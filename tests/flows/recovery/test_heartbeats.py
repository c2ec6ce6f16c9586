"""Runs that were taken up by a process that did not live to begin them."""

import os
import signal
import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from flows.recovery.crash_detection import mark_crashed
from flows.recovery.heartbeats import taking_up
from flows.server.settings import ServerSettings
from storage.files import read_json, write_json
from storage.processes import children, identity
from tests.flows.conftest import Works
from tests.flows.deploy.test_serve import wait_for
from tests.flows.lost_runs import Server, deployed, names


def left(deployment: str, seconds_ago: float = 0.0, **how: Any) -> Path:
    """Leave the note of a process that took up a deployment's runs, and is no more."""
    path = ServerSettings.from_environment().takers / "taker.json"
    known = {"deployments": [deployment], "pool": "", "start": "1"}
    write_json(path, identity() | known | how)
    then = time.time() - seconds_ago
    os.utime(path, (then, then))
    return path


@pytest.fixture
def ripe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is `Pending` has been so for long enough."""
    monkeypatch.setattr("flows.recovery.crash_detection.START_SECONDS", 0.0)


def test_what_was_taken_up_and_never_began_is_given_time_and_begins_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, deployment = deployed(server)
    server.set(run, "PENDING")
    taker = left(deployment)
    assert mark_crashed() == [], "its flow may be on its way, and outlives whoever started it"
    assert server.state(run) == "Pending"
    assert taker.exists()
    monkeypatch.setattr("flows.recovery.crash_detection.START_SECONDS", 0.0)
    [lost] = mark_crashed()
    assert lost.verdict == "It resumes by itself, for time 1 of 2."
    assert server.state(run) == "AwaitingRetry"
    states = server.ask("GET", f"flow_run_states/?flow_run_id={run}")
    [crash] = [one for one in states if one["name"] == "Crashed"]
    assert crash["message"] == f"Whoever took it up is gone, and it never began. {lost.verdict}"
    assert not taker.exists()


def test_what_never_begins_is_not_taken_up_for_ever(server: Server, ripe: None) -> None:
    run, deployment = deployed(server, resumes=1)
    states = []
    for _ in range(2):
        server.set(run, "PENDING")
        left(deployment)
        assert names(mark_crashed()) == ["reaped"]
        states.append(server.state(run))
    assert states == ["AwaitingRetry", "Crashed"]
    found = server.ask("GET", f"flow_runs/{run}")
    assert found["run_count"] == 0, "what Prefect counts would never reach a cap"
    assert "begun 2 times, and limits.resumes=1" in found["state"]["message"]


def test_what_another_may_yet_begin_is_left_alone(server: Server, ripe: None) -> None:
    served, deployment = deployed(server)
    others, _ = deployed(server)
    strangers, strange = deployed(server, tags=[])
    for run in (served, others, strangers):
        server.set(run, "PENDING")
    left(deployment, seconds_ago=3600)
    assert mark_crashed() == [], "taken up after this process was gone"
    left(strange)
    assert mark_crashed() == [], "no run of ours"
    with taking_up(deployments=[UUID(deployment)]):
        assert mark_crashed() == [], "whoever took it up lives"
    [taker] = ServerSettings.from_environment().takers.iterdir()
    write_json(taker, read_json(taker) | {"start": "1"})
    assert names(mark_crashed()) == ["reaped"], "no more"
    states = [server.state(run) for run in (served, others, strangers)]
    assert states == ["AwaitingRetry", "Pending", "Pending"]
    assert not list(ServerSettings.from_environment().takers.iterdir())


def test_a_pool_s_run_that_never_began(server: Server, ripe: None) -> None:
    pools = [f"reaped-{uuid4()}" for _ in range(2)]
    for name in pools:
        server.ask("POST", "work_pools/", {"name": name, "type": "process"})
    runs = [deployed(server, work_pool_name=name)[0] for name in pools]
    for run in runs:
        server.set(run, "PENDING")
    left("", deployments=[], pool=pools[0])
    try:
        assert names(mark_crashed()) == ["reaped"]
        assert [server.state(run) for run in runs] == ["AwaitingRetry", "Pending"]
    finally:
        for name in pools:
            server.ask("DELETE", f"work_pools/{name}")


def test_any_command_looks_for_them(works: Works, tmp_path: Path) -> None:
    taker = works.state / "takers" / "taker.json"
    write_json(taker, identity() | {"deployments": [], "pool": "", "start": "1"})
    works("status", "--home", str(tmp_path))
    assert not taker.exists(), "looked through, and nothing was found"


@pytest.fixture
def stall(tmp_path: Path) -> Path:
    """While this file is there, a flow's process does not get as far as to begin."""
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
def test_killed_while_the_flow_was_being_started(
    works: Works, server: Server, stall: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """With whoever started it, as by the power; then somebody begins again."""
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
        assert "Traceback" not in process.communicate(timeout=60)[0]
        server.ask("DELETE", f"deployments/{deployment['id']}")


def descendants(pid: int) -> list[int]:
    return [one for child in children(pid) for one in (child, *descendants(child))]

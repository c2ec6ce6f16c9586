"""Deployed: started, failed and retried from the UI as from the command line."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import EVALUATIONS, LIMIT_SECONDS, REDONE, Works, wait_for_no_job

pytestmark = pytest.mark.slow


@pytest.fixture
def deployment(works: Works, unevaluated: Path, obstacle: Path) -> Iterator[str]:
    """A served study whose evaluations are yet to do; its deployment's id."""
    order = works.order("study", unevaluated, "name=served")[2:]
    earlier = works("deploy", "study", *order, "--pool", "earlier", "--cron", "0 0 29 2 *")
    assert earlier.returncode == 0, earlier.stderr
    assert _deployment(works, "study-served")["work_pool_name"] == "earlier"
    server = works.start("serve", "study", "fma", *order, PYTHONPATH=str(obstacle.parent))
    try:
        # Several from one command; and this the last.
        wait_for(lambda: _deployment(works, "fma-served"), server)
        made = _deployment(works, "study-served")
        assert (made["work_pool_name"], made["schedules"]) == (None, []), "as asked for last"
        yield made["id"]
    finally:
        server.send_signal(signal.SIGINT)
        output = server.communicate(timeout=LIMIT_SECONDS)[0]
        assert "Traceback" not in output


def test_retry_in_the_ui_does_only_what_failed(
    works: Works, deployment: str, obstacle: Path
) -> None:
    run = works.api(f"deployments/{deployment}/create_flow_run", {})["id"]
    failed = wait_for(lambda: _ended(works, run))
    assert failed["state"]["name"] == "Failed"
    assert "no test songs today" in failed["state"]["message"]
    obstacle.unlink()
    # What the UI's Retry button sends.
    state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}
    works.api(f"flow_runs/{run}/set_state", {"state": state, "force": True})
    retried = wait_for(lambda: _ended(works, run, run_count=2))
    assert retried["state"]["name"] == "Completed", retried["state"]
    states = works.states(run)
    # Batches of units that the first attempt packed are no tasks of the second.
    assert set(states) == set(REDONE)
    done = {name for name, state in states.items() if state != "Cached"}
    # A report bears its study's name, which is a new one here.
    assert done == EVALUATIONS | {"report"}


@pytest.mark.parametrize("how", ["serve", "work"])
def test_sigterm_reaches_the_job(works: Works, tmp_path: Path, how: str) -> None:
    """The job writes a checkpoint, everything ends, and the run is not left `Running`."""
    home = tmp_path / "home"
    order = works.order("pretrain", home, f"name={how}", "pretraining.loop.steps=5000")[1:]
    if how == "serve":
        server = works.start("serve", *order)
    else:
        deployed = works("deploy", *order, "--pool", "stopped")
        assert deployed.returncode == 0, deployed.stderr
        server = works.start("work", "stopped", PREFECT_WORKER_QUERY_SECONDS="2")
    deployment = wait_for(lambda: _deployment(works, f"pretrain-{how}"), server)
    run = works.api(f"deployments/{deployment['id']}/create_flow_run", {})["id"]
    wait_for(lambda: list(home.glob("runs/train-*/checkpoints/step-*")), server)
    server.send_signal(signal.SIGTERM)
    output = server.communicate(timeout=LIMIT_SECONDS)[0]
    assert server.returncode == 143
    assert "Traceback" not in output
    wait_for_no_job(home)
    asked = {"flow_runs": {"id": {"any_": [run]}}}
    [row] = works.api("flow_runs/filter", asked)
    assert _ended(works, run), f"a stopped run must not look as if it ran: {row['state']}, {output}"
    logs = [path.read_text() for path in home.glob("runs/train-*/log.txt")]
    assert any("stopped by a signal" in log for log in logs)
    # As on a machine that was rebooted: no operator has to press Retry.
    assert (
        "It restarts automatically (restart 1 of 2)." in works("status", "--home", str(home)).stderr
    )
    [row] = works.api("flow_runs/filter", asked)
    assert row["state"]["name"] == "AwaitingRetry"


def _deployment(works: Works, name: str) -> dict[str, Any]:
    rows = works.api("deployments/filter", {"deployments": {"name": {"any_": [name]}}})
    return dict(rows[0]) if rows else {}


def _ended(works: Works, run: str, run_count: int = 1) -> dict[str, Any] | None:
    row: dict[str, Any] = works.api("flow_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})[0]
    over = row["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
    return row if over and row["run_count"] >= run_count else None


def wait_for(question: Any, process: Any = None) -> Any:
    """Ask until there is an answer."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not (answer := question()):
        if process is not None:
            assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return answer

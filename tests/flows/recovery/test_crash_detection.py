"""Crashed runs are distinguished from live ones, on a real server, and free their slots."""

import os
import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from flows.recovery.crash_detection import mark_crashed
from flows.recovery.heartbeats import run_heartbeat
from flows.stage_id import StageId
from flows.ui.progress import StageProgress
from flows.ui.run_card import KEY, RunCard
from storage.files import read_json
from storage.processes import is_alive
from tests.flows.conftest import Works, kill_when, wait_for_no_job
from tests.flows.crashed_runs import (
    GPU_JOBS,
    LIMIT,
    Server,
    dead,
    deployed,
    heartbeat,
    names,
)


def silent_for(run: UUID, seconds: float) -> None:
    """Make a heartbeat look as if it was last renewed that long ago."""
    then = time.time() - seconds
    os.utime(heartbeat(run), (then, then))


def test_a_heartbeat_exists_as_long_as_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEMWORKS_STATE", str(tmp_path))
    run = uuid4()
    with pytest.raises(KeyboardInterrupt), run_heartbeat(run):
        assert is_alive(read_json(heartbeat(run)))
        raise KeyboardInterrupt
    assert not heartbeat(run).exists()


@pytest.mark.parametrize(
    ("end", "deployed", "stays"),
    [
        (SystemExit, True, True),
        (SystemExit, False, False),
        (KeyboardInterrupt, True, False),
        (ValueError, True, False),
    ],
)
def test_a_deployed_run_asked_to_stop_leaves_its_heartbeat(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    end: type[BaseException],
    *,
    deployed: bool,
    stays: bool,
) -> None:
    monkeypatch.setenv("STEMWORKS_STATE", str(tmp_path))
    run = uuid4()
    with pytest.raises(end), run_heartbeat(run, deployed):
        raise end
    assert heartbeat(run).exists() == stays


@pytest.mark.parametrize("process", [{"pid": 2**22 + 1}, {"start": "1"}])
def test_a_dead_run_is_marked_and_its_slot_is_free(server: Server, process: dict[str, Any]) -> None:
    run = server.start()
    dead(run, **process)
    server.hold_slot()
    assert server.limit() == (GPU_JOBS, 1)
    assert names(mark_crashed()) == ["crashed RUNNING"]
    assert server.state(run) == "Crashed"
    assert server.limit() == (GPU_JOBS, 0)
    assert not heartbeat(run).exists()
    assert mark_crashed() == [], "once"


@pytest.mark.parametrize("elsewhere", [{"boot": "before"}, {"space": "another container"}])
def test_elsewhere_a_heartbeat_lives_as_long_as_it_is_renewed(
    server: Server, elsewhere: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There a pid means another process; and one from before a reboot is no longer renewed."""
    run = server.start()
    dead(run, **elsewhere)
    assert mark_crashed() == []
    assert server.state(run) == "Running"
    for module in ("heartbeats", "crash_detection"):
        monkeypatch.setattr(f"flows.recovery.{module}.EXPIRY_SECONDS", 0.2)
    deadline = time.monotonic() + 60
    while not (crashed := names(mark_crashed())):
        assert time.monotonic() < deadline
    assert crashed == ["crashed RUNNING"]
    assert server.state(run) == "Crashed"


def test_a_restarted_run_is_not_mistaken_for_its_dead_attempt(server: Server) -> None:
    """Its new process has set the state `Running`, but written no heartbeat yet."""
    run = server.start()
    dead(run)
    silent_for(run, 10)
    assert mark_crashed() == []
    assert server.state(run) == "Running"
    assert heartbeat(run).exists(), (
        "should the new process die before its first heartbeat, this one remains"
    )


def test_a_run_that_another_machine_executes_now_is_left_alone(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine was off for long, and comes back with the heartbeat of a dead process."""
    monkeypatch.setattr("flows.recovery.crash_detection.EXPIRY_SECONDS", 0.0)
    run = server.start()
    dead(run)
    silent_for(run, 3600)
    assert mark_crashed() == []
    assert server.state(run) == "Running"
    assert not heartbeat(run).exists()


def test_a_run_that_was_being_cancelled_is_cancelled(server: Server) -> None:
    run = server.start("CANCELLING")
    dead(run)
    assert mark_crashed() == []
    assert server.state(run) == "Cancelled"


def test_the_owner_of_a_crashed_run_is_given_the_command(server: Server) -> None:
    run = server.start()
    dead(run, start="1", command="stemworks run study --recipe demo")
    [crashed] = mark_crashed()
    assert crashed.decision == "Resume it with: stemworks run study --recipe demo"
    message = server.ask("GET", f"flow_runs/{run}")["state"]["message"]
    assert message == f"Its process has died. {crashed.decision}"


def test_a_deployed_run_restarts_a_limited_number_of_times(server: Server) -> None:
    run, _ = deployed(server, resumes=2)
    states = []
    for _ in range(3):
        server.set(run, "PENDING")
        server.set(run, "RUNNING")
        dead(run)
        assert names(mark_crashed()) == ["crashed"]
        states.append(server.state(run))
    found = server.ask("GET", f"flow_runs/{run}")
    assert found["run_count"] == 3
    assert states == ["AwaitingRetry", "AwaitingRetry", "Crashed"]
    assert "started 3 times, and limits.resumes=2" in found["state"]["message"]


PRETRAIN = StageId("pretrain")


def carded(server: Server, run: UUID, state: Any = "running") -> str:
    """Put a card on a run; return its artifact."""
    progress = {PRETRAIN: StageProgress(share=0.4)}
    text = RunCard("study x", state, [PRETRAIN], progress).markdown()
    body = {"key": KEY, "type": "markdown", "data": text, "flow_run_id": str(run)}
    return str(server.ask("POST", "artifacts/", body)["id"])


@pytest.mark.parametrize(
    ("state", "heading", "why"),
    [
        (
            "RUNNING",
            "crashed",
            "Its process has died. Run the same command again: finished work is kept.",
        ),
        # As its runner, its worker or the server marks it.
        (
            "CRASHED",
            "crashed",
            "Its process has died. Run the same command again: finished work is kept.",
        ),
        ("SCHEDULED", "crashed", "Its process has died. It restarts automatically."),
        ("CANCELLING", "stopped", "It was cancelled. Its process has died."),
        ("CANCELLED", "stopped", "It was marked Cancelled. Its process has died."),
    ],
)
def test_the_card_of_a_dead_run_says_so(server: Server, state: str, heading: str, why: str) -> None:
    run, other = server.start(state), server.start()
    cards = [carded(server, one) for one in (run, other)]
    dead(run)
    mark_crashed()
    text, untouched = (server.ask("GET", f"artifacts/{one}")["data"] for one in cards)
    assert text.splitlines()[:3] == [f"## study x: {heading}", "", why]
    assert f"| pretrain | {heading}, 40% |" in text
    assert "## study x: running" in untouched
    latest = server.ask("GET", f"artifacts/{KEY}/latest")
    assert latest["flow_run_id"] != str(run), "the page of the key is of a run that came later"


@pytest.mark.slow
def test_the_card_of_a_killed_study(works: Works, tmp_path: Path) -> None:
    """As a user sees it: the flow's process is killed, then `status` is called."""
    home = tmp_path / "home"
    order = works.order("pretrain", home, "name=killed", "pretraining.loop.steps=5000")
    process = works.start(*order)

    def card() -> str:
        asked = {
            "artifacts": {"key": {"any_": [KEY]}},
            "flow_runs": {"name": {"any_": ["pretrain killed"]}},
        }
        found = works.api("artifacts/filter", asked)
        return str(found[0]["data"]) if found else ""

    kill_when(process, lambda: "| pretrain | running" in card())
    wait_for_no_job(home)
    assert card().startswith("## pretrain killed: running")
    answer = works("status", "--home", str(home))
    assert answer.returncode == 0, answer.stderr
    text = card()
    assert text.startswith(
        "## pretrain killed: crashed\n\nIts process has died. Resume it with: stemworks run"
    )
    assert "| pretrain | crashed, " in text
    assert "running" not in text


def test_a_card_that_shows_how_its_run_ended_is_kept(server: Server) -> None:
    run = server.start("FAILED")
    made = carded(server, run, "failed")
    before = server.ask("GET", f"artifacts/{made}")["data"]
    dead(run)
    mark_crashed()
    assert server.ask("GET", f"artifacts/{made}")["data"] == before


def test_a_live_run_is_left_alone(server: Server) -> None:
    run, other = server.start(), server.start()
    server.hold_slot()
    dead(other)
    with run_heartbeat(run):
        assert names(mark_crashed()) == ["crashed RUNNING"]
        assert server.state(run) == "Running"
        assert server.state(other) == "Crashed"
        assert server.limit() == (GPU_JOBS, 1), "the slot may be the live run's"
        assert heartbeat(run).exists()


def test_a_limit_that_an_operator_raised_is_kept(server: Server) -> None:
    server.set_limit(3)
    server.hold_slot()
    dead(server.start())
    mark_crashed()
    assert server.limit() == (3, 0)


def test_a_limit_is_made_where_there_is_none(server: Server) -> None:
    server.ask("DELETE", LIMIT)
    mark_crashed()
    assert server.limit() == (GPU_JOBS, 0)


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CANCELLED"])
def test_a_run_that_ended_properly_stays_as_it_ended(server: Server, state: str) -> None:
    run = server.start(state)
    dead(run)
    assert mark_crashed() == []
    assert server.state(run) == state.capitalize()
    assert not heartbeat(run).exists()


def test_heartbeats_without_content(server: Server) -> None:
    """A run that the server has deleted, and a file that a crash cut short."""
    dead(uuid4())
    run = server.start()
    heartbeat(run).write_text('{"pid": ')
    assert names(mark_crashed()) == ["crashed RUNNING"]
    assert server.state(run) == "Crashed"
    assert not list(heartbeat(run).parent.iterdir())

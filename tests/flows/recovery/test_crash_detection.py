"""Dead runs are told from live ones, on a real server, and free what they held."""

import os
import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from flows.recovery.crash_detection import mark_crashed
from flows.recovery.heartbeats import registered
from flows.stage_id import StageId
from flows.ui.progress import Standing
from flows.ui.run_card import KEY, RunCard
from storage.files import read_json
from storage.processes import is_alive
from tests.flows.conftest import Works, kill_when, wait_for_no_job
from tests.flows.lost_runs import (
    GPU_JOBS,
    LIMIT,
    Server,
    dead,
    deployed,
    names,
    note,
)


def silent_for(run: UUID, seconds: float) -> None:
    """Let a note look as if it was renewed last so long ago."""
    then = time.time() - seconds
    os.utime(note(run), (then, then))


def test_registered_as_long_as_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMWORKS_STATE", str(tmp_path))
    run = uuid4()
    with pytest.raises(KeyboardInterrupt), registered(run):
        assert is_alive(read_json(note(run)))
        raise KeyboardInterrupt
    assert not note(run).exists()


@pytest.mark.parametrize(
    ("end", "deployed", "stays"),
    [
        (SystemExit, True, True),
        (SystemExit, False, False),
        (KeyboardInterrupt, True, False),
        (ValueError, True, False),
    ],
)
def test_told_to_end_a_deployed_run_leaves_its_note(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    end: type[BaseException],
    *,
    deployed: bool,
    stays: bool,
) -> None:
    monkeypatch.setenv("STEMWORKS_STATE", str(tmp_path))
    run = uuid4()
    with pytest.raises(end), registered(run, deployed):
        raise end
    assert note(run).exists() == stays


@pytest.mark.parametrize("how", [{"pid": 2**22 + 1}, {"start": "1"}])
def test_a_dead_run_crashed_and_its_slot_is_free(server: Server, how: dict[str, Any]) -> None:
    run = server.start()
    dead(run, **how)
    server.hold_slot()
    assert server.limit() == (GPU_JOBS, 1)
    assert names(mark_crashed()) == ["reaped RUNNING"]
    assert server.state(run) == "Crashed"
    assert server.limit() == (GPU_JOBS, 0)
    assert not note(run).exists()
    assert mark_crashed() == [], "once"


@pytest.mark.parametrize("elsewhere", [{"boot": "before"}, {"space": "another container"}])
def test_elsewhere_a_note_lives_as_long_as_it_is_renewed(
    server: Server, elsewhere: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There a pid means another process; and a note of before a reboot is renewed no more."""
    run = server.start()
    dead(run, **elsewhere)
    assert mark_crashed() == []
    assert server.state(run) == "Running"
    for module in ("live_runs", "reap"):
        monkeypatch.setattr(f"flows.operations.{module}.EXPIRY_SECONDS", 0.2)
    deadline = time.monotonic() + 60
    while not (lost := names(mark_crashed())):
        assert time.monotonic() < deadline
    assert lost == ["reaped RUNNING"]
    assert server.state(run) == "Crashed"


def test_a_run_that_began_again_is_not_taken_for_its_dead_attempt(server: Server) -> None:
    """Its new process has told the server, but left no note of its own yet."""
    run = server.start()
    dead(run)
    silent_for(run, 10)
    assert mark_crashed() == []
    assert server.state(run) == "Running"
    assert note(run).exists(), "if the new one dies before it leaves a note, this one tells"


def test_a_run_that_another_machine_does_now_is_left_alone(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This one was away for long, and comes back with the note of a process that is no more."""
    monkeypatch.setattr("flows.recovery.crash_detection.EXPIRY_SECONDS", 0.0)
    run = server.start()
    dead(run)
    silent_for(run, 3600)
    assert mark_crashed() == []
    assert server.state(run) == "Running"
    assert not note(run).exists()


def test_what_was_to_be_cancelled_is_cancelled(server: Server) -> None:
    run = server.start("CANCELLING")
    dead(run)
    assert mark_crashed() == []
    assert server.state(run) == "Cancelled"


def test_who_lost_a_run_is_told_how_to_go_on(server: Server) -> None:
    run = server.start()
    dead(run, start="1", command="stemworks run study --recipe demo")
    [lost] = mark_crashed()
    assert lost.verdict == "Go on with: stemworks run study --recipe demo"
    said = server.ask("GET", f"flow_runs/{run}")["state"]["message"]
    assert said == f"Its process is gone. {lost.verdict}"


def test_a_deployed_run_begins_again_and_again_but_not_for_ever(server: Server) -> None:
    run, _ = deployed(server, resumes=2)
    states = []
    for _ in range(3):
        server.set(run, "PENDING")
        server.set(run, "RUNNING")
        dead(run)
        assert names(mark_crashed()) == ["reaped"]
        states.append(server.state(run))
    found = server.ask("GET", f"flow_runs/{run}")
    assert found["run_count"] == 3
    assert states == ["AwaitingRetry", "AwaitingRetry", "Crashed"]
    assert "begun 3 times, and limits.resumes=2" in found["state"]["message"]


PRETRAIN = StageId("pretrain")


def carded(server: Server, run: UUID, state: Any = "running") -> str:
    """Put a card on a run; return its artifact."""
    standings = {PRETRAIN: Standing(share=0.4)}
    text = RunCard("study x", state, [PRETRAIN], standings).markdown()
    body = {"key": KEY, "type": "markdown", "data": text, "flow_run_id": str(run)}
    return str(server.ask("POST", "artifacts/", body)["id"])


@pytest.mark.parametrize(
    ("state", "heading", "why"),
    [
        ("RUNNING", "lost", "Its process is gone. Run it again: what is done stays done."),
        # As whoever started its process marks it, or the server.
        ("CRASHED", "lost", "Its process is gone. Run it again: what is done stays done."),
        ("SCHEDULED", "lost", "Its process is gone. It begins again."),
        ("CANCELLING", "stopped", "It was cancelled. Its process is gone."),
        ("CANCELLED", "stopped", "It was marked Cancelled. Its process is gone."),
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
    assert latest["data"] == untouched, "the page of the key is the other run's"


@pytest.mark.slow
def test_the_card_of_a_killed_study(works: Works, tmp_path: Path) -> None:
    """As a person sees it: the flow's process is killed, and `status` is asked."""
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
        "## pretrain killed: lost\n\nIts process is gone. Go on with: stemworks run"
    )
    assert "| pretrain | lost, " in text
    assert "running" not in text


def test_a_card_that_says_how_its_run_ended_stays(server: Server) -> None:
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
    with registered(run):
        assert names(mark_crashed()) == ["reaped RUNNING"]
        assert server.state(run) == "Running"
        assert server.state(other) == "Crashed"
        assert server.limit() == (GPU_JOBS, 1), "the slot may be the live run's"
        assert note(run).exists()


def test_a_limit_that_a_person_raised_is_kept(server: Server) -> None:
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
    assert not note(run).exists()


def test_notes_that_say_nothing(server: Server) -> None:
    """A run that the server forgot, and a note cut off by a crash."""
    dead(uuid4())
    run = server.start()
    note(run).write_text('{"pid": ')
    assert names(mark_crashed()) == ["reaped RUNNING"]
    assert server.state(run) == "Crashed"
    assert not list(note(run).parent.iterdir())

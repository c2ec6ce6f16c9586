"""Dead runs are told from live ones, on a real server, and free what they held."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.operations.limits import capacity
from flows.operations.live_runs import registered
from flows.operations.reap import Lost, reap
from flows.operations.settings import Place
from storage.files import read_json, write_json
from storage.processes import identity, is_alive
from tests.flows.conftest import HOST, SLOTS, Works

GPU_LIMIT = f"gpu:{HOST}"
LIMIT = f"v2/concurrency_limits/{GPU_LIMIT}"
GPU_JOBS = capacity("gpu")


class Server:
    """What these tests ask of the server, undone at the end."""

    def __init__(self, works: Works) -> None:
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{works.port}/api/", timeout=30)
        self.runs: list[str] = []

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        deadline = time.monotonic() + 60
        # What a busy SQLite answers.
        while (answer := self.http.request(method, path, json=body)).status_code == 503:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def start(self, state: str = "RUNNING") -> UUID:
        """Register a flow run."""
        flow = self.ask("POST", "flows/", {"name": "reaped"})
        body = {"flow_id": flow["id"], "name": f"reaped {state}", "state": {"type": state}}
        self.runs.append(self.ask("POST", "flow_runs/", body)["id"])
        return UUID(self.runs[-1])

    def state(self, run: UUID) -> str:
        return str(self.ask("GET", f"flow_runs/{run}")["state"]["name"])

    def limit(self) -> tuple[int, int]:
        """Return how many GPU jobs may run, and how many do."""
        found = self.ask("GET", LIMIT)
        return found["limit"], found["active_slots"]

    def set_limit(self, limit: int) -> None:
        self.ask("DELETE", LIMIT)
        self.ask("POST", "v2/concurrency_limits/", {"name": GPU_LIMIT, "limit": limit})

    def hold_slot(self) -> None:
        body = {"names": [GPU_LIMIT], "slots": 1, "mode": "concurrency"}
        for attempt in range(10):
            try:
                self.ask("POST", "v2/concurrency_limits/increment", body)
                return
            except httpx.HTTPStatusError as error:
                # SQLite is locked now and then; Prefect's own client asks again, too.
                if error.response.status_code != httpx.codes.SERVICE_UNAVAILABLE or attempt == 9:
                    raise
                time.sleep(0.5)


@pytest.fixture
def server(works: Works, tmp_path: Path) -> Iterator[Server]:
    """The works' server, with notes on live runs of our own."""
    server = Server(works)
    url = f"http://127.0.0.1:{works.port}/api"
    state = {"STEMWORKS_STATE": str(tmp_path), "STEMWORKS_HOST": HOST}
    with temporary_settings({PREFECT_API_URL: url}), mock.patch.dict(os.environ, state):
        reap()
        server.set_limit(GPU_JOBS)
        yield server
    server.set_limit(SLOTS)
    for run in server.runs:
        server.ask("DELETE", f"flow_runs/{run}")
    server.http.close()


def note(run: UUID) -> Path:
    return Place.from_environment().live_runs / f"{run}.json"


def dead(run: UUID, **how: Any) -> None:
    """Leave the note of a process that is no more."""
    write_json(note(run), identity() | (how or {"start": "1"}))


def names(lost: list[Lost]) -> list[str]:
    return [one.name for one in lost]


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


@pytest.mark.parametrize("how", [{"pid": 2**22 + 1}, {"start": "1"}])
def test_a_dead_run_crashed_and_its_slot_is_free(server: Server, how: dict[str, Any]) -> None:
    run = server.start()
    dead(run, **how)
    server.hold_slot()
    assert server.limit() == (GPU_JOBS, 1)
    assert names(reap()) == ["reaped RUNNING"]
    assert server.state(run) == "Crashed"
    assert server.limit() == (GPU_JOBS, 0)
    assert not note(run).exists()
    assert reap() == [], "once"


@pytest.mark.parametrize("elsewhere", [{"boot": "before"}, {"space": "another container"}])
def test_elsewhere_a_note_lives_as_long_as_it_is_renewed(
    server: Server, elsewhere: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There a pid means another process; and a note of before a reboot is renewed no more."""
    run = server.start()
    dead(run, **elsewhere)
    assert reap() == []
    assert server.state(run) == "Running"
    for module in ("live_runs", "reap"):
        monkeypatch.setattr(f"flows.operations.{module}.EXPIRY_SECONDS", 0.2)
    deadline = time.monotonic() + 60
    while not (lost := names(reap())):
        assert time.monotonic() < deadline
    assert lost == ["reaped RUNNING"]
    assert server.state(run) == "Crashed"


def test_a_run_that_began_again_is_not_taken_for_its_dead_attempt(server: Server) -> None:
    """Its new process has told the server, but left no note of its own yet."""
    run = server.start()
    dead(run)
    silent_for(run, 10)
    assert reap() == []
    assert server.state(run) == "Running"
    assert note(run).exists(), "if the new one dies before it leaves a note, this one tells"


def test_what_was_to_be_cancelled_is_cancelled(server: Server) -> None:
    run = server.start("CANCELLING")
    dead(run)
    assert reap() == []
    assert server.state(run) == "Cancelled"


def test_who_lost_a_run_is_told_how_to_go_on(server: Server) -> None:
    run = server.start()
    dead(run, start="1", command="stemworks run study --recipe demo")
    [lost] = reap()
    assert lost.verdict == "Go on with: stemworks run study --recipe demo"
    said = server.ask("GET", f"flow_runs/{run}")["state"]["message"]
    assert said == f"Its process is gone. {lost.verdict}"


def deployed(server: Server, resumes: int) -> tuple[UUID, str]:
    """Deploy a flow, and let a run of it begin; return the run and its deployment."""
    flow = server.ask("POST", "flows/", {"name": "reaped"})["id"]
    deployment = server.ask("POST", "deployments/", {"name": f"reaped {uuid4()}", "flow_id": flow})[
        "id"
    ]
    parameters = {"recipe": "smoke", "overrides": [f"limits.resumes={resumes}"]}
    body = {"parameters": parameters, "name": "reaped"}
    run = server.ask("POST", f"deployments/{deployment}/create_flow_run", body)["id"]
    server.runs.append(run)
    return UUID(run), deployment


def test_a_deployed_run_begins_again_and_again_but_not_for_ever(server: Server) -> None:
    run, deployment = deployed(server, resumes=2)
    states = []
    for _ in range(3):
        for state in ("PENDING", "RUNNING"):
            body = {"state": {"type": state}, "force": True}
            server.ask("POST", f"flow_runs/{run}/set_state", body)
        dead(run)
        assert names(reap()) == ["reaped"]
        states.append(server.state(run))
    found = server.ask("GET", f"flow_runs/{run}")
    server.ask("DELETE", f"deployments/{deployment}")
    assert found["run_count"] == 3
    assert states == ["AwaitingRetry", "AwaitingRetry", "Crashed"]
    assert "begun 3 times, and limits.resumes=2" in found["state"]["message"]


def test_a_live_run_is_left_alone(server: Server) -> None:
    run, other = server.start(), server.start()
    server.hold_slot()
    dead(other)
    with registered(run):
        assert names(reap()) == ["reaped RUNNING"]
        assert server.state(run) == "Running"
        assert server.state(other) == "Crashed"
        assert server.limit() == (GPU_JOBS, 1), "the slot may be the live run's"
        assert note(run).exists()


def test_a_limit_that_a_person_raised_is_kept(server: Server) -> None:
    server.set_limit(3)
    server.hold_slot()
    dead(server.start())
    reap()
    assert server.limit() == (3, 0)


def test_a_limit_is_made_where_there_is_none(server: Server) -> None:
    server.ask("DELETE", LIMIT)
    reap()
    assert server.limit() == (GPU_JOBS, 0)


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CANCELLED"])
def test_a_run_that_ended_properly_stays_as_it_ended(server: Server, state: str) -> None:
    run = server.start(state)
    dead(run)
    assert reap() == []
    assert server.state(run) == state.capitalize()
    assert not note(run).exists()


def test_notes_that_say_nothing(server: Server) -> None:
    """A run that the server forgot, and a note cut off by a crash."""
    dead(uuid4())
    run = server.start()
    note(run).write_text('{"pid": ')
    assert names(reap()) == ["reaped RUNNING"]
    assert server.state(run) == "Crashed"
    assert not list(note(run).parent.iterdir())

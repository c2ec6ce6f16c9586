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

from flows.operations.reap import GPU_JOBS, reap, registered
from flows.operations.server import Place
from flows.tasks import GPU_LIMIT
from storage.files import read_json, write_json
from storage.processes import identity, is_alive
from tests.flows.conftest import SLOTS, Works

LIMIT = f"v2/concurrency_limits/{GPU_LIMIT}"


class Server:
    """What these tests ask of the server, undone at the end."""

    def __init__(self, works: Works) -> None:
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{works.port}/api/", timeout=30)
        self.runs: list[str] = []

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.http.request(method, path, json=body)
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
    state = {"STEMWORKS_STATE": str(tmp_path)}
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


def test_registered_as_long_as_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMWORKS_STATE", str(tmp_path))
    run = uuid4()
    with pytest.raises(KeyboardInterrupt), registered(run):
        assert is_alive(read_json(note(run)))
        raise KeyboardInterrupt
    assert not note(run).exists()


@pytest.mark.parametrize("how", [{"pid": 2**22 + 1}, {"boot": "before"}, {"start": "1"}])
def test_a_dead_run_crashed_and_its_slot_is_free(server: Server, how: dict[str, Any]) -> None:
    run = server.start()
    dead(run, **how)
    server.hold_slot()
    assert server.limit() == (1, 1)
    assert reap() == ["reaped RUNNING"]
    assert server.state(run) == "Crashed"
    assert server.limit() == (1, 0)
    assert not note(run).exists()
    assert reap() == [], "once"


def test_a_live_run_is_left_alone(server: Server) -> None:
    run, other = server.start(), server.start()
    server.hold_slot()
    dead(other)
    with registered(run):
        assert reap() == ["reaped RUNNING"]
        assert server.state(run) == "Running"
        assert server.state(other) == "Crashed"
        assert server.limit() == (1, 1), "the slot may be the live run's"
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
    assert reap() == ["reaped RUNNING"]
    assert server.state(run) == "Crashed"
    assert not list(note(run).parent.iterdir())

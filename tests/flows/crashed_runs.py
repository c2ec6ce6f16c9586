"""Crashed runs: how tests make them on their own server, and clean up."""

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

from flows.recovery.crash_detection import CrashedRun, mark_crashed
from flows.recovery.machine_limits import capacity
from flows.server.settings import ServerSettings
from flows.ui.states import STEMWORKS_TAG
from storage.files import write_json
from storage.processes import identity
from tests.flows.conftest import HOST, SLOTS, Works

GPU_LIMIT = f"gpu:{HOST}"
LIMIT = f"v2/concurrency_limits/{GPU_LIMIT}"
GPU_JOBS = capacity("gpu")


class Server:
    """Requests of these tests to the server, undone at the end."""

    def __init__(self, works: Works) -> None:
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{works.port}/api/", timeout=30)
        self.runs: list[str] = []
        self.deployments: list[str] = []

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
        flow = self.ask("POST", "flows/", {"name": "crashed"})
        body = {"flow_id": flow["id"], "name": f"crashed {state}", "state": {"type": state}}
        self.runs.append(self.ask("POST", "flow_runs/", body)["id"])
        return UUID(self.runs[-1])

    def set(self, run: UUID, state: str) -> None:
        body = {"state": {"type": state}, "force": True}
        self.ask("POST", f"flow_runs/{run}/set_state", body)

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
                # SQLite is locked now and then; Prefect's own client retries, too.
                if error.response.status_code != httpx.codes.SERVICE_UNAVAILABLE or attempt == 9:
                    raise
                time.sleep(0.5)


@pytest.fixture
def server(works: Works, tmp_path: Path) -> Iterator[Server]:
    """The works' server, with a folder of heartbeats of our own."""
    server = Server(works)
    url = f"http://127.0.0.1:{works.port}/api"
    state = {"STEMWORKS_STATE": str(tmp_path), "STEMWORKS_HOST": HOST}
    with temporary_settings({PREFECT_API_URL: url}), mock.patch.dict(os.environ, state):
        mark_crashed()
        server.set_limit(GPU_JOBS)
        yield server
    server.set_limit(SLOTS)
    for run in server.runs:
        server.ask("DELETE", f"flow_runs/{run}")
    for deployment in server.deployments:
        server.ask("DELETE", f"deployments/{deployment}")
    server.http.close()


def heartbeat(run: UUID) -> Path:
    return ServerSettings.from_environment().run_heartbeats / f"{run}.json"


def dead(run: UUID, **process: Any) -> None:
    """Leave the heartbeat of a process that has died."""
    write_json(heartbeat(run), identity() | (process or {"start": "1"}))


def names(crashed: list[CrashedRun]) -> list[str]:
    return [run.name for run in crashed]


def deployed(server: Server, resumes: int = 2, **made: Any) -> tuple[UUID, str]:
    """Deploy a flow, and start a run of it; return the run and its deployment."""
    flow = server.ask("POST", "flows/", {"name": "crashed"})["id"]
    body = {"name": f"crashed {uuid4()}", "flow_id": flow, "tags": [STEMWORKS_TAG], **made}
    deployment = server.ask("POST", "deployments/", body)["id"]
    server.deployments.append(deployment)
    parameters = {"recipe": "smoke", "overrides": [f"limits.resumes={resumes}"]}
    body = {"parameters": parameters, "name": "crashed"}
    run = server.ask("POST", f"deployments/{deployment}/create_flow_run", body)["id"]
    server.runs.append(run)
    return UUID(run), deployment

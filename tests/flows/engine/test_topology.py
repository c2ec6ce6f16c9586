"""The compose file's topology as processes: PostgreSQL, Redis, a server in two parts, an S3 server,
and two workers, of which one is lost in mid-run.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from storage.home.layout import Home
from storage.home.open import WORKING_COPIES, open_home
from tests.bucket import SECRET_KEY, bucket, moto_server
from tests.flows.conftest import Works, scores
from tests.services import (
    AUTH_STRING,
    PASSWORD,
    PrefectServer,
    Service,
    postgres,
    prefect_server,
    redis,
)

pytestmark = pytest.mark.slow

POOL = "stemworks"
SECONDS = 600


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with moto_server() as endpoint, bucket(endpoint) as address:
        yield address


@pytest.fixture(scope="module")
def server() -> Iterator[PrefectServer]:
    with (
        postgres() as database,
        redis() as queue,
        prefect_server(database, queue, AUTH_STRING) as running,
    ):
        yield running


def test_a_worker_is_lost_and_another_one_finishes(
    works: Works, server: PrefectServer, url: str, finished: Path, tmp_path: Path
) -> None:
    ask = Ask(server)
    run = deployed(ask, works, server, url)
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(worker(name, server, tmp_path)) for name in ("first", "second")
        )
        by_name = {"first": first, "second": second}
        at_work = until(lambda: training(by_name, tmp_path))
        lose(by_name[at_work])
        # What the automation does on PostgreSQL when no heartbeat comes, and the Retry button.
        ask(f"flow_runs/{run}/set_state", {"state": {"type": "CRASHED"}, "force": True})
        state = {"type": "SCHEDULED", "name": "AwaitingRetry"}
        ask(f"flow_runs/{run}/set_state", {"state": state, "force": True})
        over = until(lambda: ended(ask, run))
        logs = [path.read_text() for path in tmp_path.rglob("*.log")]
    assert (over["state"]["name"], over["run_count"]) == ("Completed", 2), over["state"]
    other = "second" if at_work == "first" else "first"
    assert list((tmp_path / other / "scratch").rglob("evaluate-*")), "done by the other"
    assert digests(open_home(url)) == digests(open_home(str(finished)))
    assert stored_scores(url) == scores(finished)
    logs += [path.read_text() for path in server.folder.rglob("*.log")]
    for secret in (PASSWORD, AUTH_STRING.partition(":")[2], SECRET_KEY):
        assert not [log for log in logs if secret in log]


class Ask:
    """The Prefect API, with its password."""

    def __init__(self, server: PrefectServer) -> None:
        user, _, word = server.auth.partition(":")
        self._api, self._login = server.api, (user, word)

    def __call__(self, path: str, body: Any) -> Any:
        answer = httpx.post(f"{self._api}/{path}", json=body, auth=self._login, timeout=60)
        answer.raise_for_status()
        return answer.json() if answer.content else None


def deployed(ask: Ask, works: Works, server: PrefectServer, url: str) -> str:
    """Deploy the tiny study to a pool of process workers and start it; return the run's id."""
    order = works.order("study", url)[2:]
    done = works("deploy", "study", *order, "--pool", POOL, environment=server.client)
    assert done.returncode == 0, done.stdout + done.stderr
    wanted = {"deployments": {"name": {"any_": ["study-smoke"]}}}
    [deployment] = ask("deployments/filter", wanted)
    run: str = ask(f"deployments/{deployment['id']}/create_flow_run", {})["id"]
    return run


@contextmanager
def worker(name: str, server: PrefectServer, folder: Path) -> Iterator[Service]:
    """Run a worker on a machine of its own, as far as its folders tell."""
    place = folder / name
    place.mkdir()
    given = server.client | {
        "PREFECT_HOME": str(place / "prefect"),
        "STEMWORKS_STATE": str(place / "state"),
        # Else both would take turns, as being one machine.
        "STEMWORKS_HOST": name,
        WORKING_COPIES: str(place / "scratch"),
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "OMP_NUM_THREADS": "1",
    }
    words = [sys.executable, "-m", "flows", "work", POOL, "--name", name, "--limit", "1"]
    log = place / f"{name}.log"
    service = Service(name, words, lambda: POOL in log.read_text(), given, folder=place)
    service.start()
    try:
        yield service
    finally:
        service.stop()


def training(workers: dict[str, Service], folder: Path) -> str:
    """Return the name of the worker whose job has written a checkpoint, when one has."""
    for name, service in workers.items():
        assert service.process and service.process.poll() is None, service.log.read_text()
        if list((folder / name / "scratch").glob("*/runs/train-*/checkpoints/step-*")):
            return name
    return ""


def lose(service: Service) -> None:
    """Kill a worker with all that it started, as when its machine is gone."""
    assert service.process
    worker = psutil.Process(service.process.pid)
    for process in [worker, *worker.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    service.kill()


def ended(ask: Ask, run: str) -> dict[str, Any] | None:
    row: dict[str, Any] = ask("flow_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})[0]
    over = row["state"]["type"] in ("COMPLETED", "FAILED", "CANCELLED")
    return row if over or (row["state"]["type"] == "CRASHED" and row["run_count"] > 1) else None


def digests(home: Home) -> list[tuple[str, str]]:
    """Return stage and digest of every mark of what is made of sound; a report holds times."""
    marks = [json.loads(home.store.read(name)) for name in home.store.listing("marks")]
    return sorted(
        (mark["stage"], mark["digest"])
        for mark in marks
        if "digest" in mark and mark["stage"] != "report"
    )


def stored_scores(url: str) -> list[dict[str, Any]]:
    store = open_home(url).store
    rows = [
        json.loads(line)
        for name in store.listing("runs")
        if name.startswith("runs/evaluate-") and name.endswith("result/scores.jsonl")
        for line in store.read(name).decode().splitlines()
    ]
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))


def until(question: Callable[[], Any]) -> Any:
    """Ask until there is an answer."""
    deadline = time.monotonic() + SECONDS
    while not (answer := question()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return answer

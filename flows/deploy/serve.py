"""Long-running processes that execute deployed runs, and that stop their flows when they stop.

On SIGTERM Prefect's own runner and worker ask for no more work and wait for their flows, which may
take days. These forward SIGTERM to the flows, whose jobs then write their checkpoints.
"""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from typing import Any, cast
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.runner import Runner
from prefect.workers.base import BaseWorker

from flows.jobs.deadlines import STOP_SECONDS
from flows.recovery.crash_detection import CrashedRun, watching_for_crashes
from flows.recovery.heartbeats import runner_heartbeat
from flows.server.settings import ServerSettings
from storage.errors import ConfigError, ManifestError
from storage.files import read_json
from storage.processes import children, start_time

Worker = BaseWorker[Any, Any, Any]
POLL_SECONDS = 0.2


class ForwardingRunner(Runner):
    """A runner that forwards SIGTERM to the flows that it executes."""

    def handle_sigterm(self, *_args: Any, **_kwargs: Any) -> None:
        """Stop every flow, wait until each has ended and reported its state, and exit."""
        _stop_flows()
        deadline = time.monotonic() + STOP_SECONDS
        # Here, and not in the runner's loop, which kills its flows when it ends.
        while _flow_processes() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        raise SystemExit(143)


def serve(deployments: Iterable[RunnerDeployment], report: Callable[[CrashedRun], None]) -> None:
    """Deploy flows, and execute their scheduled, started and retried runs until a signal comes.

    Each run that crashed is passed to `report`.
    """
    runner = ForwardingRunner(name="stemworks")
    served = [cast("UUID", runner.add_deployment(deployment)) for deployment in deployments]
    with runner_heartbeat(deployments=served), watching_for_crashes(report):
        asyncio.run(runner.start())


def worker_of(pool: str, name: str, limit: int) -> Worker:
    """Return a worker for a pool, of the pool's kind, that executes at most `limit` runs at once.

    Raises:
        ConfigError: there is no such pool, or the package for its kind is not installed.
    """
    with get_client(sync_client=True) as client:
        try:
            kind = client.read_work_pool(pool).type
        except ObjectNotFound as error:
            raise ConfigError(
                f"there is no work pool '{pool}'; create it with 'stemworks deploy --pool {pool}'"
            ) from error
    try:
        worker_class = BaseWorker.get_worker_class_from_type(kind)
    except KeyError:
        worker_class = None
    if worker_class is None:
        raise ConfigError(
            f"work pool '{pool}' is of kind {kind}, and the worker for that kind is not installed; "
            f"install it with: pip install 'stemworks[{kind}]'"
        )
    worker: Worker = worker_class(pool, name=name or socket.gethostname(), limit=limit)
    return worker


def work(worker: Worker, report: Callable[[CrashedRun], None]) -> None:
    """Execute the runs of a worker's pool until a signal comes; then stop its flows, and wait.

    Each run that crashed is passed to `report`.

    Raises:
        KeyboardInterrupt: SIGINT came.
        SystemExit: SIGTERM came.
    """
    # A container or pod may wait long for its image or its node, and outlives its worker.
    local = worker.type == "process"
    with (
        runner_heartbeat(pool=worker._work_pool_name) if local else nullcontext(),
        watching_for_crashes(report),
    ):
        received = asyncio.run(_work(worker))
    if received == signal.SIGINT:
        raise KeyboardInterrupt
    if received:
        raise SystemExit(128 + received)


async def _work(worker: Worker) -> int:
    loop = asyncio.get_running_loop()
    signals: list[int] = []
    stopping = asyncio.Event()

    def stop(number: int) -> None:
        signals.append(number)
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    ask = worker.get_and_submit_flow_runs

    async def ask_until_signalled() -> list[Any]:
        return [] if signals else await ask()

    worker.get_and_submit_flow_runs = ask_until_signalled  # type: ignore[method-assign]
    working = asyncio.create_task(worker.start(printer=lambda *_: None))
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if signals:
        _stop_flows()
        deadline = time.monotonic() + STOP_SECONDS
        while _flow_processes() and time.monotonic() < deadline:
            await asyncio.sleep(POLL_SECONDS)
        working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    return signals[0] if signals else 0


def _stop_flows() -> None:
    for flow in _flow_processes():
        with suppress(ProcessLookupError):
            os.kill(flow, signal.SIGTERM)


def _flow_processes() -> list[int]:
    """Return the child processes that execute flows; the Prefect server may be a child, too."""
    server: dict[str, Any] = {}
    with suppress(ManifestError):
        server = read_json(ServerSettings.from_environment().record)
    return [child for child in children() if child != server.get("pid") and start_time(child)]

"""Processes that stay and run what is deployed, and that take their flows with them properly.

Prefect's own, told to stop, ask for no more work and wait for their flows, which they never tell:
for days. These pass SIGTERM on to the flows, whose jobs then write their checkpoints.
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
from flows.recovery.crash_detection import Lost, watching_for_crashes
from flows.recovery.heartbeats import taking_up
from flows.server.settings import ServerSettings
from storage.errors import ConfigError, ManifestError
from storage.files import read_json
from storage.processes import children, start_time

Worker = BaseWorker[Any, Any, Any]
POLL_SECONDS = 0.2


class PassingRunner(Runner):
    """Passes SIGTERM on to the flows that it runs."""

    def handle_sigterm(self, *_args: Any, **_kwargs: Any) -> None:
        """Tell every flow, wait until each has said how it ended, and leave."""
        _tell_flows()
        deadline = time.monotonic() + STOP_SECONDS
        # Here, and not in the runner's loop, which kills what still runs when it is left.
        while _flows() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        raise SystemExit(143)


def serve(deployments: Iterable[RunnerDeployment], say: Callable[[Lost], None]) -> None:
    """Deploy flows, and run what is scheduled, started or retried until a signal comes.

    `say` is told of runs that are found lost meanwhile.
    """
    runner = PassingRunner(name="stemworks")
    served = [cast("UUID", runner.add_deployment(deployment)) for deployment in deployments]
    with taking_up(deployments=served), watching_for_crashes(say):
        asyncio.run(runner.start())


def worker_of(pool: str, name: str, most: int) -> Worker:
    """Return a worker of a pool, of the pool's kind.

    Raises:
        ConfigError: there is no such pool, or what its kind needs is not installed.
    """
    with get_client(sync_client=True) as client:
        try:
            kind = client.read_work_pool(pool).type
        except ObjectNotFound as error:
            raise ConfigError(
                f"no work pool '{pool}'; 'stemworks deploy --pool {pool}' makes one"
            ) from error
    try:
        made = BaseWorker.get_worker_class_from_type(kind)
    except KeyError:
        made = None
    if made is None:
        raise ConfigError(
            f"work pool '{pool}' is of kind {kind}, whose worker is not installed: "
            f"pip install 'stemworks[{kind}]'"
        )
    worker: Worker = made(pool, name=name or socket.gethostname(), limit=most)
    return worker


def work(worker: Worker, say: Callable[[Lost], None]) -> None:
    """Run what waits in a worker's pool until a signal comes; then tell its flows, and wait.

    `say` is told of runs that are found lost meanwhile.

    Raises:
        KeyboardInterrupt: SIGINT came.
        SystemExit: SIGTERM came.
    """
    # A container or pod may wait long for its image or its turn, and outlives its worker.
    local = worker.type == "process"
    with (
        taking_up(pool=worker._work_pool_name) if local else nullcontext(),
        watching_for_crashes(say),
    ):
        came = asyncio.run(_work(worker))
    if came == signal.SIGINT:
        raise KeyboardInterrupt
    if came:
        raise SystemExit(128 + came)


async def _work(worker: Worker) -> int:
    loop = asyncio.get_running_loop()
    told: list[int] = []
    stopping = asyncio.Event()

    def stop(number: int) -> None:
        told.append(number)
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    ask = worker.get_and_submit_flow_runs

    async def ask_until_told() -> list[Any]:
        return [] if told else await ask()

    worker.get_and_submit_flow_runs = ask_until_told  # type: ignore[method-assign]
    working = asyncio.create_task(worker.start(printer=lambda *_: None))
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if told:
        _tell_flows()
        deadline = time.monotonic() + STOP_SECONDS
        while _flows() and time.monotonic() < deadline:
            await asyncio.sleep(POLL_SECONDS)
        working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    return told[0] if told else 0


def _tell_flows() -> None:
    for flow in _flows():
        with suppress(ProcessLookupError):
            os.kill(flow, signal.SIGTERM)


def _flows() -> list[int]:
    """Return the processes of flows: the server that this process may have started is none."""
    server: dict[str, Any] = {}
    with suppress(ManifestError):
        server = read_json(ServerSettings.from_environment().record)
    return [child for child in children() if child != server.get("pid") and start_time(child)]

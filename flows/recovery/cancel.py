"""A cancellation, asked for in the UI or by `stemworks cancel`, reaches the run's own process.

Prefect has whoever started a deployed run's process end it, and nobody for a run that a command
line started. So a run looks itself whether it is to be cancelled, and then ends as on SIGTERM: its
jobs write their checkpoints, and a later run goes on from there.
"""

import contextvars
import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException

from flows.jobs import deadlines

LOOK_SECONDS = 4.0
"""Between two looks. It must be seen twice: whoever started this process may end it faster."""

logger = logging.getLogger(__name__)


@contextmanager
def heeded(flow_run: UUID) -> Iterator[None]:
    """Send this process SIGTERM when its run is to be cancelled."""
    over = threading.Event()
    context = contextvars.copy_context()
    watcher = threading.Thread(
        target=context.run, args=(_watch, flow_run, over), name="cancellation", daemon=True
    )
    watcher.start()
    try:
        yield
    finally:
        over.set()


def is_cancelled(flow_run: UUID) -> bool:
    """Say whether a run is to be cancelled, or was; not if the server does not say."""
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(flow_run).state
    except (httpx.HTTPError, PrefectException, OSError):
        return False
    return state is not None and (state.is_cancelling() or state.is_cancelled())


def _watch(flow_run: UUID, over: threading.Event) -> None:
    seen = 0
    while not over.wait(LOOK_SECONDS) and not deadlines.stopping.is_set():
        seen = seen + 1 if is_cancelled(flow_run) else 0
        main = threading.main_thread().ident
        if seen == 2 and main is not None:
            logger.info("the run is to be cancelled: ending it")
            signal.pthread_kill(main, signal.SIGTERM)
            return

"""A cancellation, requested in the UI or by `stemworks cancel`, reaches the run's own process.

Prefect has the runner or worker that started a deployed run's process end it, and has nothing for
a run that a command line started. So each run polls its own state, and on a cancellation ends as
on SIGTERM: its jobs write their checkpoints, and a later run resumes from them.
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

POLL_SECONDS = 4.0
"""Between two polls. Two in a row must agree: the runner or worker may end the process faster."""

logger = logging.getLogger(__name__)


@contextmanager
def stopped_when_cancelled(flow_run: UUID) -> Iterator[None]:
    """Send this process SIGTERM when its run is cancelled."""
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
    """Whether a run is being cancelled or was; False if the server does not answer."""
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(flow_run).state
    except (httpx.HTTPError, PrefectException, OSError):
        return False
    return state is not None and (state.is_cancelling() or state.is_cancelled())


def _watch(flow_run: UUID, over: threading.Event) -> None:
    seen = 0
    while not over.wait(POLL_SECONDS) and not deadlines.stopping.is_set():
        seen = seen + 1 if is_cancelled(flow_run) else 0
        main = threading.main_thread().ident
        if seen == 2 and main is not None:
            logger.info("the run was cancelled: stopping it")
            signal.pthread_kill(main, signal.SIGTERM)
            return

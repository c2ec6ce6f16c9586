"""Slots of this machine's limits on the Prefect server, held for as long as a stage works.

A slot is a lease that a thread here renews, so that a dead holder's slot comes free automatically.
Prefect's own `concurrency` does the like, but logs an error at each look that finds no slot free,
says not who has it, and ends what it holds with the task that asked.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectException

from flows.jobs.deadlines import stopping
from flows.recovery.concurrency_limits import ensure_limits
from flows.recovery.heartbeats import slot_heartbeat, slot_heartbeats
from flows.recovery.machine_limits import capacity, limit_name
from storage.errors import RunError, StoppedError

LEASE_SECONDS = 60.0
"""A dead holder's slot comes free after this. A server that is away for a while must not end a job
of days: its holder works on, and renews when the server is back."""
RENEW_SECONDS = 20.0
LOOK_SECONDS = 5.0
"""Between two looks for a free slot, and at whether the stage that waits is to be done at all."""
SAY_SECONDS = 600.0
"""Between two lines of a stage that waits: a night of waiting takes a page."""
SILENT_SECONDS = 1800.0
"""How long the server may fail to answer who waits for a slot."""
LOCKED = 423
"""HTTP status of a server that has no slot free."""

logger = logging.getLogger(__name__)
Say = Callable[[str], object]


@contextmanager
def slots(kind: str, run: str, say: Say, count: int = 1) -> Iterator[None]:
    """Hold slots of the limit of a kind of stage; wait for them as long as it takes, and say so.

    Args:
        kind: of stage.
        run: what other runs call this one while they wait for it.
        say: is called with a line on whom this one waits for.
        count: of slots.

    Raises:
        StoppedError: the flow was stopped meanwhile.
        RunError: the server refuses, or did not answer for half an hour.
    """
    limit = limit_name(kind)
    if not limit:
        yield
        return
    wait = _Wait(limit, say)
    while (lease := _lease(limit, min(count, capacity(kind)), wait)) is None:
        if stopping.wait(LOOK_SECONDS):
            raise StoppedError(
                f"stopped with its flow, while waiting for {limit}; run it again to continue"
            )
    over = threading.Event()
    renewer = threading.Thread(
        target=copy_context().run, args=(_renew, lease, over), name="slot", daemon=True
    )
    renewer.start()
    try:
        with slot_heartbeat(limit, run):
            yield
    finally:
        over.set()
        renewer.join()
        _give_back(lease, limit)


class _Wait:
    """What a stage that waits says, now and then."""

    def __init__(self, limit: str, say: Say) -> None:
        self._limit, self._say = limit, say
        self._said, self._since, self._silent = "", 0.0, 0.0

    def for_a_slot(self) -> None:
        """The server has no slot free."""
        self._silent = 0.0
        others = " and ".join(str(one) for one in slot_heartbeats(self._limit))
        # A dead run's slot comes free when its lease ends; a run elsewhere shows no heartbeat here.
        self._tell(f"waits for {others or 'another run'}: no slot of {self._limit} is free")

    def for_the_server(self, error: Exception) -> None:
        """The server fails.

        Raises:
            RunError: it has failed for too long.
        """
        self._tell(f"waits for the Prefect server, which gives no slot of {self._limit}: {error}")
        self._silent += LOOK_SECONDS
        if self._silent > SILENT_SECONDS:
            raise RunError(
                f"the Prefect server has given no slot of {self._limit} for "
                f"{SILENT_SECONDS / 60:.0f} minutes ({error}); see its log, then run again"
            ) from error

    def _tell(self, line: str) -> None:
        """Say something once, and again after a while."""
        if line != self._said or time.monotonic() - self._since > SAY_SECONDS:
            self._said, self._since = line, time.monotonic()
            self._say(line)


def _lease(limit: str, count: int, wait: _Wait) -> UUID | None:
    """Ask for slots once; return their lease, or None if there are none now."""
    try:
        with get_client(sync_client=True) as client:
            return _leased(client, limit, count)
    except httpx.HTTPStatusError as error:
        if error.response.status_code == LOCKED:
            wait.for_a_slot()
        elif error.response.is_server_error:
            wait.for_the_server(error)
        else:
            raise RunError(
                f"the Prefect server refuses {count} slots of {limit} "
                f"({error.response.status_code}: {error.response.text[:200]}); look at the limit "
                "under Concurrency in the UI, then run again"
            ) from error
    except httpx.TransportError as error:
        wait.for_the_server(error)
    return None


def _leased(client: SyncPrefectClient, limit: str, count: int) -> UUID:
    for _ in range(2):
        answer = client.increment_concurrency_slots_with_lease(
            [limit], count, "concurrency", LEASE_SECONDS
        ).json()
        if answer["limits"]:
            return UUID(answer["lease_id"])
        # Somebody deleted the limit.
        ensure_limits(client)
    raise RunError(f"the Prefect server keeps no limit {limit}; see its log, then run again")


def _renew(lease: UUID, over: threading.Event) -> None:
    failed = False
    while not over.wait(RENEW_SECONDS):
        try:
            with get_client(sync_client=True) as client:
                client.renew_concurrency_lease(lease, LEASE_SECONDS)
        except (httpx.HTTPError, PrefectException, OSError) as error:
            # The work goes on: to end it would cost more than a second worker on the machine.
            if not failed:
                logger.warning("cannot renew a slot; another run may take it: %s", error)
            failed = True


def _give_back(lease: UUID, limit: str) -> None:
    try:
        with get_client(sync_client=True) as client:
            client.release_concurrency_slots_with_lease(lease)
    except (httpx.HTTPError, PrefectException, OSError) as error:
        # The work is done; the slot comes free when its lease ends.
        logger.warning("a slot of %s was not given back: %s", limit, error)

"""The policy of Prefect tasks: names, tags, retries, limits, and the states they end in."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.concurrency.sync import concurrency
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Failed

from flows.jobs.deadlines import stopping
from flows.recovery.machine_limits import capacity, limit_name
from flows.stage_id import StageId
from storage.errors import MachineError, PreemptedError, StoppedError, TimeLimitError
from storage.home.marks import Mark

MarkFuture = PrefectFuture[Mark]
"""The product of a stage under Prefect."""
Outcome = Mark | State[Any]
"""What a task's function returns: a mark, or a state that holds one or says why there is none."""

LEASE_SECONDS = 60
SLOT_SECONDS = 15.0
"""Between two looks at whether a stage that waits for its turn is to be done at all."""
RETRIES = 2
RETRY_SECONDS = [10.0, 60.0]


def is_transient(_task: Any, _run: TaskRun, state: State[Any]) -> bool:
    """Say whether trying again can help: broken connections and the like, never bad data.

    A job that was stopped from outside resumes from its last checkpoint.
    """
    error = state.result(raise_on_failure=False)
    if isinstance(error, PreemptedError):
        return True
    return isinstance(error, OSError) and not isinstance(error, MachineError)


def as_task(body: Callable[..., Outcome], what: StageId, kind: str) -> Any:
    """Return a function as the Prefect task of one stage."""
    decorate: Any = task(
        name=what.label,
        task_run_name=what.label,
        tags=[kind],
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=RETRIES,
        retry_delay_seconds=RETRY_SECONDS,
        retry_condition_fn=is_transient,
    )
    return decorate(ending_as_states(body))


def ending_as_states(body: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """Let what exceeded its time, or was stopped, end in such a state; neither is retried."""

    @wraps(body)
    def ended(*given: Any, **named: Any) -> Outcome:
        try:
            return body(*given, **named)
        except TimeLimitError as error:
            return Failed(name="TimedOut", message=str(error), data=error)
        except StoppedError as error:
            return Cancelled(message=str(error))

    return ended


@contextmanager
def slots(kind: str, count: int = 1) -> Iterator[None]:
    """Hold slots of the server's limit for a kind of task; wait for them as long as it takes.

    Raises:
        StoppedError: the flow was stopped meanwhile.
    """
    limit = limit_name(kind)
    if not limit:
        yield
        return
    with ExitStack() as held:
        while True:
            # The lease is short, so that a dead holder's slot comes free by itself; a server that
            # is away for a while must not end a job of days.
            slots = concurrency(
                limit,
                occupy=min(count, capacity(kind)),
                timeout_seconds=SLOT_SECONDS,
                lease_duration=LEASE_SECONDS,
                strict=True,
                raise_on_lease_renewal_failure=False,
            )
            try:
                held.enter_context(slots)
                break
            except TimeoutError:
                if stopping.is_set():
                    raise StoppedError(
                        f"stopped with its flow, while waiting for {limit}; "
                        "run it again to continue"
                    ) from None
        yield

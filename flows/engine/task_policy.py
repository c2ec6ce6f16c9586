"""The policy of Prefect tasks: names, tags, retries, and the states they end in."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Failed

from flows.stage_id import StageId
from storage.errors import MachineError, PreemptedError, StoppedError, TimeLimitError
from storage.home.marks import Mark

MarkFuture = PrefectFuture[Mark]
"""The product of a stage under Prefect."""
Outcome = Mark | State[Any]
"""What a task's function returns: a mark, or a state that holds one or says why there is none."""

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

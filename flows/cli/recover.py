"""What is asked for when runs are lost or unwanted: which died, cancel one, look after them."""

import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console

from flows.recovery.heartbeats import run_heartbeats, runner_heartbeats
from flows.server.server import answers, connect, running
from flows.server.settings import ServerSettings, database
from storage.errors import ConfigError, RunError

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from flows.cli.views import View
    from flows.recovery.automations import Database
    from flows.recovery.crash_detection import CrashedRun

CANCEL_SECONDS = 150.0
"""For a run to end: its jobs have a minute for their checkpoints."""
LOOK_SECONDS = 1.0


def tell_of_lost_runs(start: bool = True) -> None:
    """Mark this machine's lost runs, and say on stderr which these are and how they go on.

    `start` is whether to start a server that does not run; else nothing is done without one.
    """
    # Prefect takes seconds to import, and there is seldom anything to bury.
    everyone_lives = all(trace.is_live for trace in (*run_heartbeats(), *runner_heartbeats()))
    if everyone_lives or not (start or _there_is_a_server()):
        return
    connect()
    from flows.recovery.crash_detection import mark_crashed  # noqa: PLC0415

    for lost in mark_crashed():
        tell(lost)


def tell(crashed: "CrashedRun") -> None:
    """Report a crashed run on stderr."""
    message = f"Run '{crashed.name}' crashed: its process has died. {crashed.decision}"
    Console(stderr=True).print(message, highlight=False, soft_wrap=True)


def cancel(which: str, view: "View") -> None:
    """Cancel a run, by its name or id, and wait until it has ended; none named: the only one.

    Raises:
        ConfigError: no such run goes on, or several do.
        RunError: it did not end in time.
    """
    connect()
    # Whoever died meanwhile cannot be cancelled.
    tell_of_lost_runs()
    from prefect.client.orchestration import get_client  # noqa: PLC0415
    from prefect.states import Cancelling  # noqa: PLC0415

    with get_client(sync_client=True) as client:
        found = [run for run in _unfinished() if which in ("", run.name, str(run.id))]
        run = _only(found, which)
        client.set_flow_run_state(run.id, Cancelling(message="Cancelled by 'stemworks cancel'."))
        deadline = time.monotonic() + CANCEL_SECONDS
        state = client.read_flow_run(run.id).state
        while state is not None and not state.is_final():
            if time.monotonic() > deadline:
                raise RunError(
                    f"run '{run.name}' is {state.name} {CANCEL_SECONDS:g} s after it was told to "
                    "end; look at its log in the UI, and whether its process lives"
                )
            time.sleep(LOOK_SECONDS)
            state = client.read_flow_run(run.id).state
    name = state.name if state else ""
    view.show(
        {"run": run.name, "id": str(run.id), "state": name},
        f"Run '{run.name}' is {name}. Run it again, and it goes on from what is done.",
    )


def _unfinished() -> "list[FlowRun]":
    from prefect.client.orchestration import get_client  # noqa: PLC0415
    from prefect.client.schemas.filters import (  # noqa: PLC0415
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType  # noqa: PLC0415

    going = [StateType.RUNNING, StateType.PENDING, StateType.PAUSED]
    unfinished = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=going)))
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_run_filter=unfinished)


def _only(found: "list[FlowRun]", which: str) -> "FlowRun":
    if len(found) == 1:
        return found[0]
    if found:
        listed = "; ".join(f"{run.name} {run.id}" for run in found)
        raise ConfigError(f"several runs go on; name one by its id: {listed}")
    known = ", ".join(f"'{run.name}'" for run in _unfinished()) or "none"
    wanted = f"'{which}' goes on" if which else "goes on"
    raise ConfigError(f"no run {wanted}; these do: {known}")


def initialise(resumes: int, given: "Database | None", view: "View") -> None:
    """Put on the server what the works need of it; again, it changes nothing.

    Raises:
        ConfigError: nobody says which database another's server has.
    """
    connect()
    from prefect.client.orchestration import get_client  # noqa: PLC0415

    from flows.recovery import (  # noqa: PLC0415
        automations,
        concurrency_limits,
        machine_limits,
        notifications,
    )

    with get_client(sync_client=True) as client:
        kind = given or database()
        if kind is None:
            raise ConfigError(
                "the server at PREFECT_API_URL does not say which database it has; give "
                "--database postgresql or --database sqlite"
            )
        concurrency_limits.ensure_limits(client)
        rows: list[tuple[str, str]] = [("limit", name) for name in machine_limits.limit_names()]
        note = ""
        try:
            rows += [("automation", name) for name in automations.install(client, kind, resumes)]
        except ConfigError as error:
            note = str(error)
        rows.append(("notification", notifications.install(kind == "postgresql")))
    _show(rows, note, view)


def _show(rows: Iterable[tuple[str, str]], note: str, view: "View") -> None:
    from flows.cli.views import table_of  # noqa: PLC0415

    value = {"installed": [{"kind": kind, "name": name} for kind, name in rows], "note": note}
    view.show(
        value, table_of("On the server", ("what", "name"), [*rows]), *([note] if note else [])
    )


def _there_is_a_server() -> bool:
    given = os.environ.get("PREFECT_API_URL")
    return answers(given) if given else running(ServerSettings.from_environment())

"""Runs and tracks that need an operator: crashed, to cancel, to approve, to retry."""

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from flows.cli.options import AsJson, HomeAt
from flows.cli.output import View, stdout_view
from flows.recovery.heartbeats import run_heartbeats, runner_heartbeats
from flows.server.server import answers, connect, running
from flows.server.settings import ServerSettings
from storage.errors import ConfigError, RunError
from storage.home import marks
from storage.home.layout import Home
from storage.home.marks import Mark
from storage.home.open import open_existing

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from flows.recovery.crash_detection import CrashedRun

app = typer.Typer()
CANCEL_SECONDS = 150.0
"""Time for a cancelled run to end: its jobs have a minute to write checkpoints."""
POLL_SECONDS = 1.0
UNFINISHED, PAUSED = ("RUNNING", "PENDING", "PAUSED"), ("PAUSED",)
"""Names of Prefect's types of states."""


def report_crashes(start: bool = True) -> None:
    """Mark this machine's crashed runs as such; print on stderr which they are and what follows.

    `start` is whether to start a server if none runs; otherwise nothing is done without one.
    """
    # Prefect takes a second to import, and there is seldom anything to mark.
    all_live = all(heartbeat.is_live for heartbeat in (*run_heartbeats(), *runner_heartbeats()))
    if all_live or not (start or _has_server()):
        return
    connect()
    from flows.recovery.crash_detection import mark_crashed

    for crashed in mark_crashed():
        report_crash(crashed)


def report_crash(crashed: "CrashedRun") -> None:
    """Print on stderr that a run crashed."""
    message = f"Run '{crashed.name}' crashed: its process has died. {crashed.decision}"
    Console(stderr=True).print(message, highlight=False, soft_wrap=True)


def _has_server() -> bool:
    given = os.environ.get("PREFECT_API_URL")
    return answers(given) if given else running(ServerSettings.from_environment())


@app.command()
def cancel(
    run: Annotated[str, typer.Argument(help="Its name or id; none: the only one.")] = "",
    as_json: AsJson = False,
) -> None:
    """Cancel a run. Its jobs write checkpoints, from which a later run resumes."""
    cancel_run(run, stdout_view(as_json))


def cancel_run(which: str, view: View) -> None:
    """Cancel a run, by its name or id, and wait until it has ended; empty: the only run.

    Raises:
        ConfigError: no such run is unfinished, or several are.
        RunError: it did not end in time.
    """
    connect()
    # A run whose process has died cannot be cancelled.
    report_crashes()
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelling

    run = _only_run(which, UNFINISHED, "unfinished")
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Cancelling(message="Cancelled by 'stemworks cancel'."))
        deadline = time.monotonic() + CANCEL_SECONDS
        state = client.read_flow_run(run.id).state
        while state is not None and not state.is_final():
            if time.monotonic() > deadline:
                raise RunError(
                    f"run '{run.name}' is still {state.name} {CANCEL_SECONDS:g} s after it was "
                    "cancelled; see its log in the UI, and whether its process is alive"
                )
            time.sleep(POLL_SECONDS)
            state = client.read_flow_run(run.id).state
    name = state.name if state else ""
    view.show(
        {"run": run.name, "id": str(run.id), "state": name},
        f"Run '{run.name}' is {name}. Run it again to resume.",
    )


@app.command()
def approve(
    run: Annotated[str, typer.Argument(help="Its name or id, as the UI shows it.")],
    refuse: Annotated[bool, typer.Option("--refuse", help="End the run instead.")] = False,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why: written to the run's log.")
    ] = "",
) -> None:
    """Approve a run that waits for approval before it uses GPUs."""
    connect()
    from prefect.flow_runs import resume_flow_run

    found = _only_run(run, PAUSED, "waiting for approval")
    resume_flow_run(found.id, {"approved": not refuse, "reason": reason})
    typer.echo(f"{found.name} is {'refused and ends' if refuse else 'approved and continues'}.")


def _only_run(which: str, types: tuple[str, ...], what: str) -> "FlowRun":
    """Return the run of this name or id, or the only one, among those in such states."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType

    wanted = FlowRunFilterStateType(any_=[StateType(name) for name in types])
    with get_client(sync_client=True) as client:
        every = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=wanted))
        )
    found = [run for run in every if which in ("", run.name, str(run.id))]
    if len(found) == 1:
        return found[0]
    listed = "; ".join(f"{run.name} {run.id}" for run in found or every) or "none"
    if found:
        raise ConfigError(f"several runs are {what}; give the id of one: {listed}")
    wanted_run = f"no run '{which}' is" if which else "no run is"
    raise ConfigError(f"{wanted_run} {what}; those that are: {listed}")


@app.command()
def retry(
    reason: Annotated[str, typer.Option(help="Quarantine reason, such as decode_error.")],
    home: HomeAt = "home",
    as_json: AsJson = False,
) -> None:
    """Have the next run pack again what was quarantined for a reason."""
    retry_quarantined(open_existing(home), reason, stdout_view(as_json))


def retry_quarantined(home: Home, reason: str, view: View) -> None:
    """Forget the units that hold tracks quarantined for a reason; the next run packs them again.

    Raises:
        ConfigError: no track is quarantined for this reason; lists the reasons there are.
    """
    found: dict[str, list[Mark]] = {}
    for mark in marks.all_marks(home):
        for quarantined in mark.facts.get("quarantined", {}) if mark.stage == "pack" else ():
            found.setdefault(quarantined, []).append(mark)
    if reason not in found:
        known = ", ".join(found) or "none"
        raise ConfigError(f"no track is quarantined for '{reason}'; the reasons here are: {known}")
    for mark in found[reason]:
        marks.forget(home, mark)
    units = len(found[reason])
    view.show(
        {"reason": reason, "units": units},
        f"The next run packs {units} units again, for tracks with '{reason}'.",
    )

"""What the Prefect server does by itself about lost runs, where its database bears automations.

On PostgreSQL the server notices a run whose heartbeats cease and marks it `Crashed`, and lets a
deployed run that crashed begin again, a few times and no more. On SQLite the same automations lock
the database and lose events: there `reap` does both.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from storage.errors import ConfigError

Database = Literal["postgresql", "sqlite"]

SILENCE_SECONDS = 90
"""Without a heartbeat, of which there is one each 30 seconds, until a run counts as lost."""
TAG = "stemworks"
"""Of every run of ours."""
LOST, RESUME = "stemworks: a lost run crashed", "stemworks: a crashed run begins again"
ENDS = ("Completed", "Cached", "Failed", "TimedOut", "Crashed", "Cancelled", "Cancelling")
PAUSES = ("Scheduled", "AwaitingRetry", "Late", "Paused", "Suspended", "Pending")


def install(client: SyncPrefectClient, database: Database, resumes: int) -> list[str]:
    """Create or renew the automations of lost runs; return their names.

    Raises:
        ConfigError: the database is SQLite.
    """
    if database == "sqlite":
        raise ConfigError(
            "automations lock an SQLite database, so none is installed: 'stemworks serve', 'run', "
            "'status' and 'ui' look after lost runs instead; for automations give the server a "
            "PostgreSQL database by PREFECT_SERVER_DATABASE_CONNECTION_URL"
        )
    wanted = [lost_runs(), resumption(resumes)]
    for automation in wanted:
        known = client.read_automations_by_name(automation.name)
        if known:
            client.update_automation(known[0].id, automation)
        else:
            client.create_automation(automation)
        for other in known[1:]:
            client.delete_automation(other.id)
    return [automation.name for automation in wanted]


def installed(client: SyncPrefectClient) -> bool:
    """Say whether the server itself lets crashed runs begin again."""
    return any(known.enabled for known in client.read_automations_by_name(RESUME))


def lost_runs() -> AutomationCore:
    """Return what marks a run `Crashed` whose heartbeats cease."""
    beat = "prefect.flow-run.heartbeat"
    trigger = EventTrigger(
        # One that is lost at once has shown no sign of life yet.
        after={beat, "prefect.flow-run.Running"},
        expect={beat, *(f"prefect.flow-run.{state}" for state in (*ENDS, *PAUSES))},
        match={"prefect.resource.id": ["prefect.flow-run.*"]},
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=SILENCE_SECONDS),
    )
    crashed = ChangeFlowRunState(
        name=None,
        force=False,
        state=StateType.CRASHED,
        message=f"No heartbeat for {SILENCE_SECONDS} s: its process is gone.",
    )
    return AutomationCore(
        name=LOST,
        description="A killed process cannot say that it ended.",
        trigger=trigger,
        actions=[crashed],
    )


def resumption(resumes: int) -> AutomationCore:
    """Return what lets a crashed run of a deployment begin again, so many times."""
    # A run carries how often it was begun: beyond that count nothing matches, and no loop begins.
    counts: Sequence[str] = [str(count + 1) for count in range(resumes)] or ["none"]
    trigger = EventTrigger(
        expect={"prefect.flow-run.Crashed"},
        match={"prefect.resource.id": ["prefect.flow-run.*"], "prefect.run-count": [*counts]},
        match_related=[
            {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"},
            {"prefect.resource.role": "deployment"},
        ],
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )
    again = ChangeFlowRunState(
        state=StateType.SCHEDULED,
        name="AwaitingRetry",
        force=False,
        message="Its process was lost; resumed by itself.",
    )
    return AutomationCore(
        name=RESUME,
        description=f"At most {resumes} times a run; then find out why it is lost.",
        trigger=trigger,
        actions=[again],
    )

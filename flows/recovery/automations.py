"""Automations by which a Prefect server on PostgreSQL handles crashed runs itself.

There the server notices a run whose heartbeats stop and marks it `Crashed`, and restarts a
deployed run that crashed, up to a set number of times. On SQLite the same automations lock the
database and lose events: there `crash_detection` does both.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from flows.ui.states import STEMWORKS_TAG, StateName
from storage.errors import ConfigError

Database = Literal["postgresql", "sqlite"]

SILENCE_SECONDS = 90
"""Without a heartbeat, which a run sends every 30 seconds, until the run counts as crashed."""
MARK_CRASHED = "stemworks: mark a run without heartbeats as crashed"
RESTART_CRASHED = "stemworks: restart a crashed run"
EARLIER_NAMES = {
    MARK_CRASHED: "stemworks: a lost run crashed",
    RESTART_CRASHED: "stemworks: a crashed run begins again",
}
"""What an earlier release called them: replaced, or a run would be restarted twice."""
HEARTBEAT_EVENT = "prefect.flow-run.heartbeat"
ENDING = (
    StateName.COMPLETED,
    StateName.CACHED,
    StateName.FAILED,
    StateName.TIMED_OUT,
    StateName.CRASHED,
    StateName.CANCELLED,
    StateName.CANCELLING,
)
WAITING = (
    StateName.SCHEDULED,
    StateName.AWAITING_RETRY,
    StateName.LATE,
    StateName.PAUSED,
    StateName.SUSPENDED,
    StateName.PENDING,
)


def install(client: SyncPrefectClient, database: Database, resumes: int) -> list[str]:
    """Create or update both automations; return their names.

    Args:
        client: of the server that gets them.
        database: which one that server uses.
        resumes: how often a crashed run may be restarted.

    Raises:
        ConfigError: the database is SQLite.
    """
    if database == "sqlite":
        raise ConfigError(
            "automations lock an SQLite database, so none is installed: 'stemworks serve', 'work', "
            "'run', 'status' and 'ui' detect crashed runs instead; for automations give the server "
            "a PostgreSQL database by PREFECT_SERVER_DATABASE_CONNECTION_URL"
        )
    wanted = [crash_automation(), restart_automation(resumes)]
    for automation in wanted:
        existing = client.read_automations_by_name(automation.name)
        if existing:
            client.update_automation(existing[0].id, automation)
        else:
            client.create_automation(automation)
        earlier = client.read_automations_by_name(EARLIER_NAMES[automation.name])
        for duplicate in (*existing[1:], *earlier):
            client.delete_automation(duplicate.id)
    return [automation.name for automation in wanted]


def restarts_are_automated(client: SyncPrefectClient) -> bool:
    """Whether the server restarts crashed runs itself."""
    names = (RESTART_CRASHED, EARLIER_NAMES[RESTART_CRASHED])
    return any(one.enabled for name in names for one in client.read_automations_by_name(name))


def crash_automation() -> AutomationCore:
    """Return the automation that marks a run `Crashed` when its heartbeats stop."""
    trigger = EventTrigger(
        # A run that crashes at once has sent no heartbeat yet.
        after={HEARTBEAT_EVENT, StateName.RUNNING.event},
        expect={HEARTBEAT_EVENT, *(state.event for state in (*ENDING, *WAITING))},
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
        message=f"No heartbeat for {SILENCE_SECONDS} s: the run's process has died.",
    )
    return AutomationCore(
        name=MARK_CRASHED,
        description="A killed process cannot report that it ended.",
        trigger=trigger,
        actions=[crashed],
    )


def restart_automation(resumes: int) -> AutomationCore:
    """Return the automation that restarts a deployment's crashed run, at most `resumes` times."""
    # A run carries how often it was started: beyond this count nothing matches, so no loop starts.
    counts: Sequence[str] = [str(count + 1) for count in range(resumes)] or ["none"]
    trigger = EventTrigger(
        expect={StateName.CRASHED.event},
        match={"prefect.resource.id": ["prefect.flow-run.*"], "prefect.run-count": [*counts]},
        match_related=[
            {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{STEMWORKS_TAG}"},
            {"prefect.resource.role": "deployment"},
        ],
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )
    restart = ChangeFlowRunState(
        state=StateType.SCHEDULED,
        name=StateName.AWAITING_RETRY.value,
        force=False,
        message="Its process died; restarted automatically.",
    )
    return AutomationCore(
        name=RESTART_CRASHED,
        description=f"At most {resumes} times per run; after that, find out why it crashes.",
        trigger=trigger,
        actions=[restart],
    )

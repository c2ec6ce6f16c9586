"""Notifications of runs that fail, crash or stall: one POST of JSON to a webhook.

The webhook's address is a secret. It comes from STEMWORKS_WEBHOOK, or from the Prefect block
`stemworks` that `stemworks init` fills from there; no parameter, log or page shows it. The message
has a `text`, which Slack, Mattermost and similar services show, and separate fields for machines.

Where the server uses PostgreSQL, an automation sends the message, also for a process that died. On
SQLite automations lock the database: there the run's own process sends it, and crash detection
does so for a process that died.
"""

import json
import logging
import time
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import UUID

import httpx
from prefect import Flow
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.events.actions import CallWebhook
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run as current_run
from prefect.types import SecretDict
from prefect.utilities.urls import url_for
from pydantic import SecretStr

from flows.ui.events import STAGE_STALLED
from flows.ui.states import StateName
from storage.config import Json
from storage.environment import WEBHOOK
from storage.errors import ConfigError

BLOCK = "stemworks"
AUTOMATION = "stemworks: notify of failures, crashes and stalls"
EARLIER_AUTOMATION = "stemworks: tell of failures and stalls"
"""What an earlier release called it: replaced, or every message would be sent twice."""
ATTEMPTS, PAUSE_SECONDS, TIMEOUT_SECONDS = 3, 2.0, 10.0

Problem = Literal["failed", "crashed", "stalled"]
EVENTS = {
    StateName.FAILED.event,
    StateName.TIMED_OUT.event,
    StateName.CRASHED.event,
    STAGE_STALLED,
}
TEMPLATE = """{
  "text": {{ (flow_run.name ~ ": " ~ event.event ~ " " ~ (flow_run.state.message or "")) | tojson
  }},
  "happened": {{ event.event | tojson }},
  "run": {{ flow_run.name | tojson }},
  "run_id": {{ flow_run.id | string | tojson }},
  "message": {{ (flow_run.state.message or "") | tojson }},
  "ui": {{ flow_run | ui_url | tojson }}
}"""

logger = logging.getLogger(__name__)


def notify(problem: Problem, run: str, message: str, run_id: str = "", ui: str = "") -> bool:
    """Send one notification; return whether the webhook accepted it. Never raises.

    Args:
        problem: what is wrong with the run.
        run: its name.
        message: why, and what to do.
        run_id: its id on the server; by default that of the current run.
        ui: the address of its page.
    """
    try:
        address = _address()
        if not address or _is_automated():
            return False
        run_id = run_id or current_run.get_id() or ""
        _post(address, _body(problem, run, message, run_id, ui))
    except (httpx.HTTPError, httpx.InvalidURL, PrefectException, OSError, ValueError) as error:
        # The error's own message may hold the address.
        logger.warning(
            "the webhook did not accept a notification (%s); check %s",
            type(error).__name__,
            WEBHOOK.name,
        )
        return False
    return True


def on_end(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Notify of a run that failed or crashed: a hook of the flow."""
    problem: Problem = "crashed" if state.is_crashed() else "failed"
    page = url_for("flow-run", obj_id=flow_run.id) or ""
    notify(problem, flow_run.name, state.message or "", str(flow_run.id), page)


def install(automated: bool) -> str:
    """Store the webhook that STEMWORKS_WEBHOOK names on the server; return a line on what was done.

    Args:
        automated: whether the server can run automations; on SQLite it cannot.

    Raises:
        ConfigError: STEMWORKS_WEBHOOK is not an http(s) address.
    """
    address = WEBHOOK.read()
    if not address:
        return (
            f"none: set {WEBHOOK.name} to the address of a webhook, then run 'stemworks init' again"
        )
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{WEBHOOK.name} is not an http(s) address; give https://HOST/PATH")
    block = Webhook(
        url=SecretStr(address), headers=SecretDict({"Content-Type": "application/json"})
    )
    block_id = block.save(BLOCK, overwrite=True)
    if not automated:
        return f"sent to {parts.hostname} by the runs themselves"
    with get_client(sync_client=True) as client:
        for existing in _automations(client):
            client.delete_automation(existing.id)
        client.create_automation(automation(UUID(str(block_id))))
    return f"sent to {parts.hostname} by an automation of the server"


def automation(block: UUID) -> AutomationCore:
    """Return the automation that calls a webhook block when a run fails, crashes or stalls."""
    return AutomationCore(
        name=AUTOMATION,
        description="Calls the webhook when a run of stemworks fails, crashes or stalls.",
        trigger=EventTrigger(
            expect=EVENTS,
            match_related={
                "prefect.resource.role": "flow",
                "prefect.resource.name": "stemworks",
            },
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[CallWebhook(block_document_id=block, payload=TEMPLATE)],
    )


def _address() -> str:
    given = WEBHOOK.read()
    if given:
        return given
    try:
        block: Any = Webhook.load(BLOCK)
    except ValueError:
        return ""
    return str(block.url.get_secret_value())


def _is_automated() -> bool:
    try:
        with get_client(sync_client=True) as client:
            return any(one.enabled for one in _automations(client))
    except (httpx.HTTPError, PrefectException):
        return False


def _automations(client: SyncPrefectClient) -> list[Automation]:
    names = (AUTOMATION, EARLIER_AUTOMATION)
    return [one for name in names for one in client.read_automations_by_name(name)]


def _body(problem: Problem, run: str, message: str, run_id: str, ui: str) -> Json:
    return {
        "text": f"{run} {problem}: {message}" + (f"\n{ui}" if ui else ""),
        "happened": problem,
        "run": run,
        "run_id": run_id,
        "message": message,
        "ui": ui,
    }


def _post(address: str, body: Json) -> None:
    headers = {"Content-Type": "application/json"}
    for remaining in reversed(range(ATTEMPTS)):
        try:
            answer = httpx.post(
                address, content=json.dumps(body), headers=headers, timeout=TIMEOUT_SECONDS
            )
            answer.raise_for_status()
        except httpx.HTTPError:
            if not remaining:
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return

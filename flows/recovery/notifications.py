"""Telling people that a run failed, died or stalls: one POST of JSON to a webhook of theirs.

Its address is a secret. It comes from STEMWORKS_WEBHOOK, or from the Prefect block `stemworks`
that `stemworks init` fills from there; it stands in no parameter, log or page. What is sent has a
`text`, which Slack, Mattermost and their like show, and the same in fields for machines.

Where the server keeps its data in PostgreSQL, an automation sends it, and knows of dead processes,
too. On SQLite automations lock the database: there the run's own process tells, and `reap` does
for one that died.
"""

import json
import logging
import os
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
from prefect.runtime import flow_run as present
from prefect.types import SecretDict
from prefect.utilities.urls import url_for
from pydantic import SecretStr

from storage.config import Json
from storage.errors import ConfigError

WEBHOOK = "STEMWORKS_WEBHOOK"
BLOCK = "stemworks"
AUTOMATION = "stemworks: tell of failures and stalls"
ATTEMPTS, PAUSE_SECONDS, LIMIT_SECONDS = 3, 2.0, 10.0

Happening = Literal["failed", "crashed", "stalled"]
EVENTS = {
    "prefect.flow-run.Failed",
    "prefect.flow-run.TimedOut",
    "prefect.flow-run.Crashed",
    "stemworks.stage.stalled",
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


def tell(happened: Happening, run: str, message: str, run_id: str = "", ui: str = "") -> bool:
    """Send one notification; return whether somebody took it. It never raises."""
    try:
        address = _address()
        if not address or _is_automated():
            return False
        _post(address, _body(happened, run, message, run_id or present.get_id() or "", ui))
    except (httpx.HTTPError, httpx.InvalidURL, PrefectException, OSError, ValueError) as error:
        # The error's own words may hold the address.
        logger.warning("a notification was not taken (%s)", type(error).__name__)
        return False
    return True


def on_end(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Tell of a run that ended badly: a hook of the flow."""
    happened: Happening = "crashed" if state.is_crashed() else "failed"
    page = url_for("flow-run", obj_id=flow_run.id) or ""
    tell(happened, flow_run.name, state.message or "", str(flow_run.id), page)


def install(automated: bool) -> str:
    """Keep the webhook that STEMWORKS_WEBHOOK names on the server; return what was done, in words.

    Args:
        automated: whether the server may have automations, which SQLite does not bear.

    Raises:
        ConfigError: it is no address.
    """
    address = os.environ.get(WEBHOOK, "")
    if not address:
        return f"none; set {WEBHOOK} to a webhook's address and run 'stemworks init' again"
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{WEBHOOK} is no address; give https://HOST/PATH")
    block = Webhook(
        url=SecretStr(address), headers=SecretDict({"Content-Type": "application/json"})
    )
    kept = block.save(BLOCK, overwrite=True)
    if not automated:
        return f"sent by runs themselves to {parts.hostname}"
    with get_client(sync_client=True) as client:
        for old in client.read_automations_by_name(AUTOMATION):
            client.delete_automation(old.id)
        client.create_automation(automation(UUID(str(kept))))
    return f"sent by an automation to {parts.hostname}"


def automation(block: UUID) -> AutomationCore:
    """Return the automation that calls a webhook block on failures and stalls of our flow."""
    return AutomationCore(
        name=AUTOMATION,
        description="A run of stemworks failed, died or stalls: its webhook is called.",
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
    given = os.environ.get(WEBHOOK, "")
    if given:
        return given
    try:
        block: Any = Webhook.load(BLOCK)
    except ValueError:
        return ""
    return str(block.url.get_secret_value())


def _is_automated() -> bool:
    def known(client: SyncPrefectClient) -> list[Automation]:
        return client.read_automations_by_name(AUTOMATION)

    try:
        with get_client(sync_client=True) as client:
            return any(one.enabled for one in known(client))
    except (httpx.HTTPError, PrefectException):
        return False


def _body(happened: Happening, run: str, message: str, run_id: str, ui: str) -> Json:
    return {
        "text": f"{run} {happened}: {message}" + (f"\n{ui}" if ui else ""),
        "happened": happened,
        "run": run,
        "run_id": run_id,
        "message": message,
        "ui": ui,
    }


def _post(address: str, body: Json) -> None:
    headers = {"Content-Type": "application/json"}
    for left in reversed(range(ATTEMPTS)):
        try:
            answer = httpx.post(
                address, content=json.dumps(body), headers=headers, timeout=LIMIT_SECONDS
            )
            answer.raise_for_status()
        except httpx.HTTPError:
            if not left:
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return

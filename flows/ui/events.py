"""Prefect events about a run's stages; automations can be triggered by them."""

from typing import Literal

from prefect.events import emit_event
from prefect.runtime import flow_run

from storage.config import Json

EventName = Literal[
    "stemworks.stage.done",
    "stemworks.stage.failed",
    "stemworks.stage.stalled",
    "stemworks.quality.warned",
    "stemworks.approval.asked",
    "stemworks.approval.given",
    "stemworks.approval.refused",
    "stemworks.quarantine.counted",
]
STAGE_STALLED: EventName = "stemworks.stage.stalled"


def announce(event: EventName, stage: str, payload: Json) -> None:
    """Emit an event about a stage of the current flow run; outside a flow run do nothing."""
    if not flow_run.get_id():
        return
    resource = {
        "prefect.resource.id": f"stemworks.stage.{flow_run.get_id()}.{stage.replace(' ', '-')}",
        "prefect.resource.name": stage,
    }
    emit_event(event, resource, payload=payload)

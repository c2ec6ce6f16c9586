"""What happened in a run, as Prefect events: automations can be triggered by them."""

from typing import Literal

from prefect.events import emit_event
from prefect.runtime import flow_run

from storage.config import Json

Happening = Literal[
    "stemworks.stage.done",
    "stemworks.stage.failed",
    "stemworks.stage.stalled",
    "stemworks.quality.warned",
    "stemworks.approval.asked",
    "stemworks.approval.given",
    "stemworks.approval.refused",
    "stemworks.quarantine.counted",
]


def announce(what: Happening, stage: str, payload: Json) -> None:
    """Tell the server what happened to a stage of the present flow run; nothing outside of one."""
    if not flow_run.get_id():
        return
    resource = {
        "prefect.resource.id": f"stemworks.stage.{flow_run.get_id()}.{stage.replace(' ', '-')}",
        "prefect.resource.name": stage,
    }
    emit_event(what, resource, payload=payload)

"""Artifacts of a run that are kept up to date in place: one page in the UI, however long it is."""

import logging
from collections.abc import Callable
from typing import Any, Literal
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.runtime import flow_run, task_run

Kind = Literal["markdown", "table", "progress", "link"]

logger = logging.getLogger(__name__)


class Artifact:
    """One artifact of the task or flow run in which it is made.

    Prefect's own functions send a whole artifact along with an event at each change: a job of days
    would leave gigabytes of events. Here a change is the artifact alone, and no change is nothing.
    """

    def __init__(self, kind: Kind, key: str, description: str = "") -> None:
        self._kind, self._key, self._description = kind, key, description
        self._owners = {"flow_run_id": flow_run.get_id(), "task_run_id": task_run.get_id()}
        self._id: UUID | None = None
        self._shown: tuple[Any, str] | None = None

    def show(self, data: Any, description: str = "") -> None:
        """Show this. If the server does not answer, the page is out of date; the run continues."""
        described = description or self._description
        if self._shown == (data, described):
            return
        try:
            self._send(data, described)
        except (httpx.HTTPError, OSError) as error:
            logger.warning("artifact '%s' is not up to date: %s", self._key, error)
            return
        self._shown = (data, described)

    def _send(self, data: Any, description: str) -> None:
        with get_client(sync_client=True) as client:
            if self._id is None:
                owners: dict[str, Any] = {name: one for name, one in self._owners.items() if one}
                made = ArtifactCreate(
                    key=self._key, type=self._kind, description=description, data=data, **owners
                )
                self._id = client.create_artifact(made).id
                return
            _change(client, self._id, {"data": data, "description": description})


def amend_artifact(
    client: SyncPrefectClient, run: UUID, key: str, amended: Callable[[str], str]
) -> None:
    """Change the artifacts of one key of a run whose own process has died.

    If the server does not answer, the pages are out of date; the caller continues.
    """
    ours = ArtifactFilter(
        key=ArtifactFilterKey(any_=[key]), flow_run_id=ArtifactFilterFlowRunId(any_=[run])
    )
    try:
        for artifact in client.read_artifacts(artifact_filter=ours):
            text = str(artifact.data)
            if artifact.id and (changed := amended(text)) != text:
                _change(client, artifact.id, {"data": changed})
    except (httpx.HTTPError, OSError) as error:
        logger.warning("artifact '%s' of a crashed run is not up to date: %s", key, error)


def _change(client: SyncPrefectClient, artifact: UUID, what: dict[str, Any]) -> None:
    client.request("PATCH", "/artifacts/{id}", json=what, path_params={"id": artifact})


def key_of(name: str, label: str) -> str:
    """Return an artifact's key, which takes small letters, digits and dashes alone."""
    words = "".join(one if one.isascii() and one.isalnum() else " " for one in label.lower())
    return "-".join([name, *words.split()])

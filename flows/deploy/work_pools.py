"""Work pools, in which deployed runs wait until a worker of the pool starts them.

A pool has one kind, and that kind's template, a file in `docker/pools`, says how a worker starts a
run and which job variables there are: the image, GPUs, shared memory, the time to stop a job.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound

from storage.config import Json
from storage.errors import ConfigError

TEMPLATES = Path(__file__).parents[2] / "docker" / "pools"

Kind = Literal["process", "docker", "kubernetes"]


@dataclass(frozen=True)
class Pool:
    """A work pool, and the job variables of a deployment that differ from its template."""

    name: str
    kind: Kind
    variables: Json = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, kind: str, variables: Json) -> "Pool":
        """Return a pool; raise `ConfigError` if the kind or a job variable is unknown."""
        if kind not in get_args(Kind):
            raise ConfigError(
                f"unknown kind of work pool '{kind}'; give one of {', '.join(get_args(Kind))}"
            )
        pool = cls(name, cast("Kind", kind), variables)
        known = pool.template["variables"]["properties"]
        unknown = [name for name in variables if name.partition(".")[0] not in known]
        if unknown:
            raise ConfigError(
                f"unknown job variable '{unknown[0]}'; a {kind} pool knows {', '.join(known)}"
            )
        return pool

    @property
    def is_local(self) -> bool:
        """Whether its runs can read the files of the machine that deploys them."""
        return self.kind == "process"

    @property
    def template(self) -> dict[str, Any]:
        """How a worker of this pool starts a run, as Prefect's base job template.

        Raises:
            ConfigError: the template file is missing, as in an installation without `docker/`.
        """
        path = TEMPLATES / f"{self.kind}.json"
        try:
            return cast("dict[str, Any]", json.loads(path.read_text()))
        except FileNotFoundError as error:
            raise ConfigError(
                f"the template {path} is missing; deploy from a checkout of Stemworks"
            ) from error

    def ensure(self, client: SyncPrefectClient) -> str:
        """Create the pool; return `created`, `exists`, or how it differs from the template.

        An existing pool is not changed: an operator may have set its defaults in the UI.

        Raises:
            ConfigError: a pool of this name and another kind exists.
        """
        try:
            found = client.read_work_pool(self.name)
        except ObjectNotFound:
            wanted = WorkPoolCreate(name=self.name, type=self.kind, base_job_template=self.template)
            client.create_work_pool(wanted)
            return "created"
        if found.type != self.kind:
            raise ConfigError(
                f"work pool '{self.name}' exists with kind {found.type}, not {self.kind}; "
                "give another name with --pool"
            )
        if found.base_job_template == self.template:
            return "exists"
        return (
            "exists, with another template; to update it: prefect work-pool update "
            f"{self.name} --base-job-template {TEMPLATES / self.kind}.json"
        )

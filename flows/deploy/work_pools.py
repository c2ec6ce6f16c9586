"""Work pools: where deployed runs wait until a worker of the pool takes them.

A pool is of one kind, and says by its template, a file in `docker/pools`, how a run is started
there and what may be varied: the image, GPUs, shared memory, how long a job may take to stop.
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
    """A work pool, and what differs from its template for the runs of a deployment."""

    name: str
    kind: Kind
    variables: Json = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, kind: str, variables: Json) -> "Pool":
        """Return a pool; raise `ConfigError` if there is no such kind, or no such variable."""
        if kind not in get_args(Kind):
            raise ConfigError(f"unknown kind of pool '{kind}'; give {', '.join(get_args(Kind))}")
        pool = cls(name, cast("Kind", kind), variables)
        known = pool.template["variables"]["properties"]
        unknown = [name for name in variables if name.partition(".")[0] not in known]
        if unknown:
            raise ConfigError(
                f"unknown job variable '{unknown[0]}'; a {kind} pool has {', '.join(known)}"
            )
        return pool

    @property
    def is_local(self) -> bool:
        """Say whether runs find the files of the machine that deploys them."""
        return self.kind == "process"

    @property
    def template(self) -> dict[str, Any]:
        """How a worker of this pool starts a run.

        Raises:
            ConfigError: the project's own folder is not at hand.
        """
        path = TEMPLATES / f"{self.kind}.json"
        try:
            return cast("dict[str, Any]", json.loads(path.read_text()))
        except FileNotFoundError as error:
            raise ConfigError(f"no template {path}; deploy from a checkout of Stemworks") from error

    def ensure(self, client: SyncPrefectClient) -> str:
        """Create the pool; return `created`, `there`, or how it differs from the template.

        One that is there is left as it is: a person may have changed its defaults in the UI.

        Raises:
            ConfigError: a pool of this name and another kind is there.
        """
        try:
            found = client.read_work_pool(self.name)
        except ObjectNotFound:
            wanted = WorkPoolCreate(name=self.name, type=self.kind, base_job_template=self.template)
            client.create_work_pool(wanted)
            return "created"
        if found.type != self.kind:
            raise ConfigError(
                f"work pool '{self.name}' is of kind {found.type}, not {self.kind}; give another "
                "name with --pool"
            )
        if found.base_job_template == self.template:
            return "there"
        return (
            "there, with another template; to renew it: prefect work-pool update "
            f"{self.name} --base-job-template {TEMPLATES / self.kind}.json"
        )

"""What one machine does at once, as limits of the Prefect server: seen there, and changed there.

Each machine has its own: `gpu:HOST`, as many slots as it has GPUs, and `packing:HOST`, one, since
a packing task uses every core. Where each run has a machine to itself, such as a pod, an empty
STEMWORKS_HOST says that there is nothing to share.
"""

import os
import socket
from collections.abc import Iterable

from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound

from flows.jobs import gpus

KINDS = ("gpu", "packing")
"""Kinds of stages that a machine does only so many of at once."""


def host() -> str:
    """Return the name under which the runs of this machine share it; none: they do not."""
    return os.environ.get("STEMWORKS_HOST", socket.gethostname())


def limit_of(kind: str) -> str:
    """Return the name of this machine's limit of one kind of work; none: there is no limit."""
    return f"{kind}:{host()}" if kind in KINDS and host() else ""


def own_limits() -> list[str]:
    """Return the names of this machine's limits."""
    return [name for kind in KINDS if (name := limit_of(kind))]


def ensure_limits(client: SyncPrefectClient) -> None:
    """Create this machine's limits; one that a person has set is left as it is."""
    for name in own_limits():
        try:
            client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            kind = name.partition(":")[0]
            client.upsert_global_concurrency_limit_by_name(name, capacity(kind))


def free_slots(client: SyncPrefectClient, names: Iterable[str]) -> None:
    """Give back all slots now instead of when their leases end, a minute later."""
    for name in names:
        try:
            limit = client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            continue
        client.delete_global_concurrency_limit_by_name(name)
        client.upsert_global_concurrency_limit_by_name(name, limit.limit)


def capacity(kind: str) -> int:
    """Return how much this machine does at once until somebody says otherwise."""
    return max(1, len(gpus.present())) if kind == "gpu" else 1

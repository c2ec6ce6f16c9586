"""This machine's concurrency limits on the Prefect server, where operators see and change them."""

from collections.abc import Iterable

from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound

from flows.recovery.machine_limits import KINDS, capacity, limit_name


def ensure_limits(client: SyncPrefectClient) -> None:
    """Create this machine's limits; one that exists keeps the size that an operator gave it."""
    for kind in KINDS:
        name = limit_name(kind)
        if not name:
            continue
        try:
            client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            client.upsert_global_concurrency_limit_by_name(name, capacity(kind))


def free_slots(client: SyncPrefectClient, names: Iterable[str]) -> None:
    """Free all slots of these limits now; a dead holder's lease would keep them for a minute."""
    for name in names:
        try:
            limit = client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            continue
        client.delete_global_concurrency_limit_by_name(name)
        client.upsert_global_concurrency_limit_by_name(name, limit.limit)

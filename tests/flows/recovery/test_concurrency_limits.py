"""One machine's limits on the server: created, freed, and never reset to their default."""

import os
from collections.abc import Iterator
from unittest import mock

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.concurrency.sync import concurrency
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.recovery.concurrency_limits import ensure_limits, free_slots
from tests.flows.conftest import Works

HOST = "gpu7"


@pytest.fixture
def client(works: Works) -> Iterator[SyncPrefectClient]:
    """The works' server, asked from another machine with three GPUs."""
    url = f"http://127.0.0.1:{works.port}/api"
    other = {"STEMWORKS_HOST": HOST, "CUDA_VISIBLE_DEVICES": "0,1,2"}
    with (
        temporary_settings({PREFECT_API_URL: url}),
        mock.patch.dict(os.environ, other),
        get_client(sync_client=True) as client,
    ):
        yield client
        for name in (f"gpu:{HOST}", f"packing:{HOST}"):
            client.delete_global_concurrency_limit_by_name(name)


def test_made_kept_and_freed(client: SyncPrefectClient) -> None:
    ensure_limits(client)
    gpu, packing = f"gpu:{HOST}", f"packing:{HOST}"
    assert client.read_global_concurrency_limit_by_name(gpu).limit == 3
    assert client.read_global_concurrency_limit_by_name(packing).limit == 1
    client.upsert_global_concurrency_limit_by_name(packing, 2)
    ensure_limits(client)
    assert client.read_global_concurrency_limit_by_name(packing).limit == 2, "an operator's choice"
    with concurrency(gpu, occupy=2, strict=True):
        assert client.read_global_concurrency_limit_by_name(gpu).active_slots == 2
        free_slots(client, [gpu, "no such limit"])
        found = client.read_global_concurrency_limit_by_name(gpu)
        assert (found.limit, found.active_slots) == (3, 0)

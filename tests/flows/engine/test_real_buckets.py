"""A corpus packed into a bucket of each real server, killed in between, and finished."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.home.open import WORKING_COPIES, open_home
from storage.stores.s3.address import parse
from storage.stores.s3.conditions import Conditions, conditions
from tests.bucket import SERVERS, bucket
from tests.flows.conftest import Works, kill_when, shard_bytes

pytestmark = pytest.mark.slow

KEPT = {
    "localbucket": Conditions(absent=True, same=False),
    "rclone": Conditions(absent=False, same=False),
}
"""Which conditions of a write each server keeps: less than the store would use."""


@pytest.fixture(params=sorted(KEPT))
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with SERVERS[request.param]() as endpoint, bucket(endpoint) as address:
        found = conditions(parse(address))
        assert found == KEPT[request.param], "the server is tried, and believed"
        yield address


def test_packing_is_killed_and_resumed(
    works: Works, finished: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = {WORKING_COPIES: str(tmp_path / "scratch")}
    monkeypatch.setenv(WORKING_COPIES, scratch[WORKING_COPIES])
    store = open_home(url).store
    order = works.order("fma", url, "fma.workers=1")

    def marks() -> dict[str, str]:
        return {name: one.version for name, one in store.listing("marks/pack").items()}

    run = works.start(*order, **scratch)
    kill_when(run, lambda: len(marks()) >= 2)
    before = marks()
    assert len(before) < len(shard_bytes(finished)), "killed in between"
    again = works(*order, environment=scratch)
    assert again.returncode == 0, again.stdout + again.stderr
    after = marks()
    assert {name: after[name] for name in before} == before, "what was done is left as it was"
    stored = {
        name.rpartition("/")[2]: store.read(name)
        for name in store.listing("fma")
        if name.endswith(".tar")
    }
    assert stored == shard_bytes(finished), "the bytes of a home on disk"
    # It may have been killed between a unit's mark and the end of its lock, which waits for no one.
    left = {json.loads(store.read(name))["pid"] for name in store.listing("locks")}
    assert left <= {run.pid}, "every other lock is let go"
    checked = works("verify", "--deep", "--home", url, environment=scratch)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    litter = works("gc", "--home", url, "--yes", environment=scratch)
    assert litter.returncode == 0, litter.stdout + litter.stderr

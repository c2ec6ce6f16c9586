"""What two hosts make through one bucket is what one host makes."""

from pathlib import Path

import pytest

from storage.home.open import open_home
from tests.two_hosts import two_hosts
from tests.two_hosts.journey import archives, cluster, losses, order, packers, shards, store

pytestmark = pytest.mark.slow


def test_two_hosts_pack_and_train_as_one(tmp_path: Path) -> None:
    music, alone = archives(tmp_path / "archives"), str(tmp_path / "alone")
    with two_hosts(tmp_path) as (one, two), store() as url:
        with cluster(one, two, tmp_path) as scheduler:
            dask = ("fma.engine=dask", f"fma.scheduler={scheduler}")
            one.run(*order("fma", url, music, *dask))
        one.run(*order("pretrain", url, music, "pretraining.runtime.hosts=2"))
        one.run(*order("pretrain", alone, music, "pretraining.runtime.processes=2"))
        there, here = open_home(url), open_home(alone)
        assert packers(there) == {"stw-one", "stw-two"}
        assert shards(there) == shards(here)
        assert losses(there) == losses(here)

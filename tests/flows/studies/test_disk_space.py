"""Room on the disks of this machine for what a run still writes, on disks of chosen sizes."""

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from flows.stage_id import PackId, StageId
from flows.stages.archives import DOWNLOAD, RemoteConfig
from flows.studies import disk_space
from flows.studies.disk_space import Need, disks, needs, packing_need, shortage
from flows.studies.mixit.recipes import RECIPES
from flows.studies.runner import StageStatus
from pipelines.archives.known_archives import published
from pipelines.config import FmaConfig
from storage.home.layout import Home
from storage.stores.base import FolderStore
from tests.flows.conftest import Works
from tests.flows.studies.test_estimates import SIZE, unit

TERABYTE = 10**12


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """How much every disk has free."""
    room = mock.Mock(return_value=TERABYTE)
    monkeypatch.setattr(disk_space, "free_bytes", room)
    return room


def in_bucket(root: Path) -> Home:
    """Return a home whose bytes are kept elsewhere than in its working copy."""
    return Home(root, FolderStore(root / "elsewhere"))


def test_packing_needs_its_shards_and_once_more_what_is_in_hand(tmp_path: Path) -> None:
    config = FmaConfig(workers=3)
    left = [100, 700, 400, 600, 200]
    need = packing_need(Home(tmp_path), config, left, [])
    assert need == Need(tmp_path, round((2000 + 1700) * 6.9), "packing", 1_000_000_000)
    there = packing_need(in_bucket(tmp_path), config, left, [])
    assert there.bytes == round(2 * 1700 * 6.9), "what is packed goes to the bucket"
    halved = config.override(["shards.storage=segments", "disk_reserve_gb=5"])
    need = packing_need(Home(tmp_path), halved, left, [])
    assert need == Need(tmp_path, round(3700 * 3.6), "packing", 5_000_000_000)


def test_units_that_are_packed_say_how_large_the_others_become(tmp_path: Path) -> None:
    marks = [unit(True, {"bytes_in": 100}, 1.0, written=200).mark for _ in range(2)]
    need = packing_need(Home(tmp_path), FmaConfig(workers=1), [50, 50], [m for m in marks if m])
    assert need.bytes == (100 + 50) * 2


def test_a_folder_of_any_format_is_not_refused_by_a_guess(tmp_path: Path) -> None:
    config = FmaConfig(source="folder", workers=1)
    guessed = packing_need(Home(tmp_path), config, [1000], [])
    assert guessed.bytes == pytest.approx(2000 * 6.9 * 0.19)
    [mark] = [unit(True, {"bytes_in": 100}, 1.0, written=500).mark]
    assert mark
    assert packing_need(Home(tmp_path), config, [1000], [mark]).bytes == 10_000


def test_before_the_plan_the_archive_s_size_decides(tmp_path: Path, free: mock.Mock) -> None:
    status = StageStatus(PackId.whole(), "waiting", config=FmaConfig(archive="fma_full.zip"))
    [need] = needs(Home(tmp_path), [status])
    assert need.bytes == pytest.approx(6.5 * TERABYTE, rel=0.05), "what `plan` says"
    message = shortage([need])
    assert message.startswith("packing will write about 6,5")
    for part in (
        f"under {tmp_path}, but 1,000.00 GB are free there, of which 1.00 GB stay free",
        "about 5,5", "are lacking", "--set fma.shards.storage=segments", "another --home",
        "--set limits.short_of_disk=begin",
    ):  # fmt: skip
        assert part in message
    free.return_value = 7 * TERABYTE
    assert shortage([need]) == ""


def test_only_what_is_not_done_is_needed(tmp_path: Path) -> None:
    units = tuple(unit(done, {"bytes_in": SIZE}, 1.0, written=SIZE) for done in (True, False, True))
    packing = StageStatus(PackId.whole(), "missing", config=FmaConfig(workers=2), units=units)
    [need] = needs(Home(tmp_path), [packing])
    assert need.bytes == 2 * SIZE
    done = StageStatus(PackId.whole(), "done", config=FmaConfig(), units=units)
    other = StageStatus(StageId("census"), "missing", config=FmaConfig())
    assert needs(Home(tmp_path), [done, other]) == []


def test_a_download_needs_what_has_not_arrived(tmp_path: Path) -> None:
    known = published("fma_metadata.zip")
    assert known
    assert known.bytes
    config = RemoteConfig(known=known.model_dump(mode="json"), connections=1, root=str(tmp_path))
    status = StageStatus(StageId("download", "metadata"), "missing", stage=DOWNLOAD, config=config)
    assert [need.bytes for need in needs(Home(tmp_path), [status])] == [known.bytes]
    part = tmp_path / "fma_metadata.zip.part"
    part.write_bytes(bytes(1 << 20))
    with part.open("r+b") as stream:
        stream.truncate(known.bytes)
    [need] = needs(Home(tmp_path), [status])
    assert need.bytes == pytest.approx(known.bytes - (1 << 20), abs=1 << 16)
    assert "downloading fma_metadata.zip" in need.what


def test_the_cache_of_a_bucket_s_shards_is_counted(tmp_path: Path) -> None:
    train = RECIPES["paper_medium"]().pretraining.override(["data.cache_gb=4"])
    units = (unit(False, {}, 0.0),)
    packing = StageStatus(PackId.whole(), "missing", config=FmaConfig(workers=1), units=units)
    statuses = [packing, StageStatus(StageId("pretrain"), "waiting", config=train)]
    home = in_bucket(tmp_path)
    shards = round(SIZE * 6.9)
    found = {need.what: need for need in needs(home, statuses)}
    assert found["its cache"] == Need(home.cache, shards, "its cache")
    home.cache.mkdir()
    (home.cache / "0a1b").write_bytes(bytes(1000))
    found = {need.what: need for need in needs(home, statuses)}
    assert found["its cache"].bytes == shards - 1000
    assert "its cache" not in {need.what for need in needs(Home(tmp_path), statuses)}


def test_what_goes_to_one_disk_is_added_up(tmp_path: Path, free: mock.Mock) -> None:
    free.return_value = 100
    one, two = tmp_path / "home", tmp_path / "archives" / "not yet"
    [disk] = disks([Need(one, 60, "packing", 10), Need(two, 50, "downloading a.zip")])
    assert (disk.needed, disk.reserve, disk.lacking) == (110, 10, 20)
    assert disk.what == "packing and downloading a.zip"
    [enough] = disks([Need(one, 90, "packing", 10)])
    assert enough.lacking == 0
    [nothing] = disks([Need(one, 0, "packing", 1000)])
    assert nothing.lacking == 0, "what writes nothing is not refused"


@pytest.mark.slow
def test_a_run_without_room_does_not_begin_unless_told_to(works: Works, tmp_path: Path) -> None:
    home = tmp_path / "home"
    short = "fma.disk_reserve_gb=1e9"
    answer = works(*works.order("fma", home, short))
    assert answer.returncode == 5
    assert "error: packing will write about 0." in answer.stderr
    assert not list(home.glob("marks/*/*.json")), "nothing was begun"
    plan: Any = json.loads(works("plan", *works.order("fma", home, short)[1:], "--json").stdout)
    [disk] = plan["disks"]
    assert disk["lacking"] > 0
    assert disk["reserve"] == 10**18
    begun = works(*works.order("fma", home, short, "limits.short_of_disk=begin"))
    assert begun.returncode == 5
    assert "warning: packing will write" in begun.stderr
    assert "fma.disk_reserve_gb keeps 1000000000.00 GB; free at least" in begun.stderr
    assert not list(home.glob("marks/pack/*")), "no unit was begun, and none has failed"
    done = works(*works.order("fma", home))
    assert done.returncode == 0, done.stderr

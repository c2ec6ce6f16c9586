"""The judge of a game day: what differs is seen, and the servers that it kills come back."""

import sys
from pathlib import Path
from subprocess import Popen

import pytest

from storage.home.open import open_home
from tests.bucket import bucket, moto_server
from tests.flows.conftest import Works
from tests.gameday.digests import differing, digests
from tests.gameday.gateway import gateway
from tests.gameday.ground import Ground
from tests.gameday.scene import Scene, Trial
from tests.gameday.victims import StuckError, kill, processes

SHARD = "fma/key/shards/0000-00.tar"
MODEL = "runs/train-key/result/model/model.safetensors"


def test_altered_lost_and_new_results_differ(tmp_path: Path) -> None:
    home = open_home(str(tmp_path))
    for name in (SHARD, MODEL, "runs/train-key/log.txt", "fma/key/census.json"):
        home.write(home.path(name), b"as it was")
    before = digests(home.url)
    assert set(before) == {SHARD, MODEL}, "logs have dates"
    home.write(home.path("runs/train-key/log.txt"), b"another day")
    assert not differing(before, digests(home.url))
    home.write(home.path(MODEL), b"otherwise")
    home.remove(home.path(SHARD))
    home.write(home.path("runs/evaluate-key/result/scores.jsonl"), b"new")
    assert differing(before, digests(home.url)) == [
        SHARD, "runs/evaluate-key/result/scores.jsonl", MODEL,
    ]  # fmt: skip


def test_what_an_s3_server_holds_outlives_its_killed_port() -> None:
    with moto_server() as stored, gateway(stored) as server, bucket(server.endpoint) as url:
        store = open_home(url).store
        store.write("one", b"kept")
        server.kill()
        server.start()
        assert store.read("one") == b"kept"


def test_the_right_process_is_killed() -> None:
    words = [sys.executable, "-c", "import time; time.sleep(600)", "named-by-a-test"]
    with Popen(words) as victim, Popen([*words[:-1], "spared"]) as spared:
        kill(processes("named-by-a-test"))
        assert victim.wait() == -9
        assert spared.poll() is None
        spared.kill()
    with pytest.raises(StuckError, match="no such process"):
        kill(processes("named-by-a-test"))


def test_a_command_that_ends_too_early_is_told_of(tmp_path: Path) -> None:
    ground = Ground(tmp_path, "smoke")
    ground.works = Works(tmp_path, 1, tmp_path)
    scene = Scene(ground, Trial("unknown flow"), str(tmp_path / "home"))
    process = scene.start("run", "nothing", "--recipe", "smoke")
    with pytest.raises(StuckError, match="too early: unknown flow 'nothing'"):
        scene.wait_for(scene.at_work, process)
    scene.close()

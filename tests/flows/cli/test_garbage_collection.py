"""Garbage collection deletes what nothing refers to, nothing else, and only once confirmed."""

import json
import os
import time
from pathlib import Path

import pytest

from flows.cli import garbage_collection
from storage.home.layout import Home
from storage.home.marks import all_marks, find_fault
from storage.home.open import WORKING_COPIES, open_home
from storage.stores.s3.client import client
from tests.bucket import bucket, moto_server
from tests.flows.conftest import Works

pytestmark = pytest.mark.slow

LITTER = {
    "fma/0123456789abcdef/shards/0000-00.tar": "of no finished or pending stage",
    "runs/train-0123456789abcdef/job.json": "of no finished or pending stage",
    "archives/0123456789abcdef/old.zip": "of no finished or pending stage",
}


@pytest.fixture
def littered(copied: Path) -> Home:
    shards = next(copied.glob("fma/*/shards"))
    for name in LITTER:
        (copied / name).parent.mkdir(parents=True)
        (copied / name).write_bytes(b"litter")
    arriving = shards / ".0009-00.tar.1.arriving"
    arriving.write_bytes(b"half")
    os.utime(arriving, (time.time() - 7200,) * 2)
    (arriving.parent / ".0010-00.tar.1.arriving").write_bytes(b"half, and still growing")
    return Home(copied)


def files(home: Home) -> set[str]:
    return {
        path.relative_to(home.root).as_posix()
        for path in home.root.rglob("*")
        if path.is_file() and path.parts[-2] != "locks"
    }


def test_asks_and_takes_no_for_an_answer(works: Works, littered: Home) -> None:
    before = files(littered)
    answer = works("gc", "--home", str(littered.root), "--json")
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    whys = {piece["name"]: piece["why"] for piece in found["litter"]}
    assert whys.items() >= LITTER.items()
    assert sum(why == "never finished" for why in whys.values()) == 1
    assert found["freed"] == 0
    assert files(littered) == before


def test_what_goes_and_what_stays(works: Works, littered: Home) -> None:
    before = files(littered)
    answer = works("gc", "--home", str(littered.root), "--yes", "--json")
    assert answer.returncode == 0, answer.stderr
    gone = before - files(littered)
    checkpoints = {name for name in before if "/checkpoints/" in name}
    assert checkpoints, "finished jobs keep theirs until now"
    assert {name for name in gone if not name.endswith(".arriving")} == {*LITTER, *checkpoints}
    assert sum(name.endswith(".arriving") for name in gone) == 1
    assert not [find_fault(littered, mark, deep=True) for mark in all_marks(littered) if
                find_fault(littered, mark, deep=True)]  # fmt: skip
    assert not (littered.root / "fma/0123456789abcdef").exists()
    again = works(*works.order("study", littered.root))
    assert again.returncode == 0, again.stderr
    assert set(works.states(works.last_run(littered.root)["id"]).values()) == {"Cached"}


def test_an_unfinished_job_keeps_its_checkpoints(works: Works, littered: Home) -> None:
    runs = {path.parent.name: path for path in littered.root.glob("runs/train-*/checkpoints")}
    name, checkpoints = sorted(runs.items())[0]
    littered.mark("train", name.removeprefix("train-")).unlink()
    kept = len(list(checkpoints.rglob("*.safetensors")))
    answer = works("gc", "--home", str(littered.root), "--yes")
    assert answer.returncode == 0, answer.stderr
    assert len(list(checkpoints.rglob("*.safetensors"))) == kept > 0


def test_a_running_study_is_left_alone(works: Works, littered: Home) -> None:
    before = files(littered)
    with littered.alone("study-smoke", "study 'smoke'"):
        answer = works("janitor", "--home", str(littered.root), "--yes")
    assert answer.returncode == 4
    assert "study 'smoke'" in answer.stderr
    assert files(littered) == before


def test_uploads_that_nobody_ended_are_shown_and_then_aborted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their own name, which a finished object may bear as well: that one stays."""
    monkeypatch.setenv(WORKING_COPIES, str(tmp_path))
    with moto_server() as endpoint, bucket(endpoint) as url:
        home = open_home(url)
        home.store.write("fma/0a/index.json", b"whole")
        begun = client().create_multipart_upload(
            Bucket=url.split("/")[2], Key="home/fma/0a/index.json"
        )["UploadId"]
        # The server says that every upload began in 2010.
        (upload,) = [piece for piece in garbage_collection.find_garbage(home, []) if piece.upload]
        assert upload == ("fma/0a/index.json", 0, "upload never ended", begun)
        assert garbage_collection.delete_garbage(home, [upload], []) == 0
        assert not [piece for piece in garbage_collection.find_garbage(home, []) if piece.upload]
        assert home.store.read("fma/0a/index.json") == b"whole"


def test_a_test_of_the_server_that_was_killed_leaves_nothing_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WORKING_COPIES, str(tmp_path))
    with moto_server() as endpoint, bucket(endpoint) as url:
        home = open_home(url)
        home.store.write(".probes/0a1b", b"x")
        assert garbage_collection.find_garbage(home, []) == [], "it may be in use now"
        monkeypatch.setattr(garbage_collection, "UPLOAD_SECONDS", 0.0)
        (probe,) = garbage_collection.find_garbage(home, [])
        why = "a test of the server that never ended"
        assert probe == (".probes/0a1b", 1, why, "")
        assert garbage_collection.delete_garbage(home, [probe], []) == 1
        assert home.store.seen(".probes/0a1b") is None

"""A run directory is uploaded as it grows, and another machine resumes it from there."""

import shutil
import threading
from pathlib import Path

import pytest

from storage.errors import SourceError
from storage.home.layout import Home
from storage.home.mirror import Mirror
from storage.stores.base import FolderStore, Seen


def machine(tmp_path: Path, name: str) -> Home:
    """Return one home as a machine sees it that works in a folder of its own."""
    return Home(tmp_path / name, FolderStore(tmp_path / "bucket"))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def work(folder: Path, step: int) -> None:
    """Do what a training job does between two uploads."""
    checkpoint = folder / "checkpoints" / f"step-{step:08d}"
    checkpoint.mkdir(parents=True)
    for name in ("model.safetensors", "optimizer.safetensors", "checkpoint.json"):
        (checkpoint / name).write_text(f"{name} at {step}")
    shutil.rmtree(folder / "checkpoints" / f"step-{step - 2:08d}", ignore_errors=True)
    with (folder / "metrics.jsonl").open("a") as stream:
        stream.write(f"step {step}\n")


def test_another_machine_resumes_a_run(tmp_path: Path) -> None:
    first, second = machine(tmp_path, "first"), machine(tmp_path, "second")
    here = first.run("train", "0a1b")
    with Mirror(first, here).synchronised():
        for step in (1, 2, 3):
            work(here, step)
        (here / "run.lock").touch()
        (here / ".log.txt.1.arriving").touch()
    there = second.run("train", "0a1b")
    with Mirror(second, there).synchronised():
        sent = contents(there)
        assert set(sent) == {
            *(f"checkpoints/step-0000000{step}/{name}" for step in (2, 3)
              for name in ("checkpoint.json", "model.safetensors", "optimizer.safetensors")),
            "metrics.jsonl",
        }  # fmt: skip
        assert sent["metrics.jsonl"] == b"step 1\nstep 2\nstep 3\n"
        work(there, 4)
    stored = contents(tmp_path / "bucket/runs/train-0a1b")
    assert "checkpoints/step-00000004/checkpoint.json" in stored
    assert not [name for name in stored if "step-00000002" in name], "deleted here, deleted there"


def test_newer_files_of_this_machine_are_kept(tmp_path: Path) -> None:
    """A machine that lost power before an upload continues from its own files."""
    home = machine(tmp_path, "first")
    here = home.run("train", "0a1b")
    with Mirror(home, here).synchronised():
        work(here, 1)
    work(here, 2)
    before = contents(here)
    Mirror(home, here).pull()
    assert contents(here) == before


class Recording(FolderStore):
    """Records what is uploaded, and refuses it while `refuses` is set."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.sent: list[str] = []
        self.refuses = False

    def put(self, name: str, path: Path, sha256: str) -> Seen:
        if self.refuses:
            raise SourceError("the bucket is away; try again")
        self.sent.append(name)
        return super().put(name, path, sha256)


def test_a_checkpoint_s_json_arrives_after_its_weights_and_nothing_twice(tmp_path: Path) -> None:
    store = Recording(tmp_path / "bucket")
    home = Home(tmp_path / "here", store)
    folder = home.run("train", "0a1b")
    work(folder, 1)
    mirror = Mirror(home, folder)
    mirror.push()
    mirror.push()
    names = [name.rpartition("/")[2] for name in store.sent]
    assert names == [
        "model.safetensors",
        "optimizer.safetensors",
        "checkpoint.json",
        "metrics.jsonl",
    ]


def test_a_bucket_that_does_not_answer_for_a_while_ends_no_job(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Recording(tmp_path / "bucket")
    home = Home(tmp_path / "here", store)
    folder = home.run("train", "0a1b")
    with Mirror(home, folder).synchronised(every_seconds=0.01):
        store.refuses = True
        work(folder, 1)
        waited = threading.Event()
        for _ in range(500):
            if "trying again in 0.01 s: the bucket is away" in caplog.text:
                break
            waited.wait(0.01)
        store.refuses = False
    assert "trying again in 0.01 s: the bucket is away" in caplog.text
    assert contents(tmp_path / "bucket/runs/train-0a1b") == contents(folder)


def test_a_home_in_a_folder_has_nothing_to_do(tmp_path: Path) -> None:
    home = Home(tmp_path)
    folder = home.run("train", "0a1b")
    with Mirror(home, folder).synchronised():
        work(folder, 1)
    assert len(contents(folder)) == 4

"""GPUs found without torch, and handed out so that no two jobs have the same one."""

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from flows.jobs import gpus
from flows.jobs.gpus import VISIBLE, allotted, present

TWO = """\
GPU 0: NVIDIA H200 (UUID: GPU-aaaa)
GPU 1: NVIDIA H200 (UUID: GPU-bbbb)
"""
CUT = """\
GPU 0: NVIDIA A100 (UUID: GPU-aaaa)
  MIG 3g.20gb     Device  0: (UUID: MIG-1111)
  MIG 3g.20gb     Device  1: (UUID: MIG-2222)
GPU 1: NVIDIA A100 (UUID: GPU-bbbb)
"""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path) -> Iterator[Path]:
    """A folder in which to put an nvidia-smi."""
    with mock.patch.dict(os.environ):
        os.environ |= {"STEMWORKS_STATE": str(tmp_path / "state"), "PATH": f"{tmp_path}:/usr/bin"}
        os.environ.pop(VISIBLE, None)
        yield tmp_path


def nvidia_smi(folder: Path, says: str, code: int = 0) -> None:
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\ncat <<'EOF'\n{says}EOF\nexit {code}\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)


def test_none_where_there_is_no_driver(machine: Path) -> None:
    assert present() == []
    nvidia_smi(machine, "NVIDIA-SMI has failed because it couldn't communicate\n", 9)
    assert present() == []
    with allotted(2) as environment:
        assert environment == {}
    assert not (machine / "state").exists()


def test_what_the_driver_lists(machine: Path) -> None:
    nvidia_smi(machine, TWO)
    assert present() == ["GPU-aaaa", "GPU-bbbb"]
    nvidia_smi(machine, CUT)
    assert present() == ["MIG-1111", "MIG-2222", "GPU-bbbb"]


@pytest.mark.parametrize(
    ("given", "known"), [("2, 3", ["2", "3"]), ("", []), ("-1", []), ("GPU-x", ["GPU-x"])]
)
def test_what_this_process_may_use(machine: Path, given: str, known: list[str]) -> None:
    nvidia_smi(machine, TWO)
    os.environ[VISIBLE] = given
    assert present() == known


def test_each_job_has_its_own() -> None:
    os.environ[VISIBLE] = "0,1,2"
    with allotted(2) as one, allotted(1) as other:
        assert (one, other) == ({VISIBLE: "0,1"}, {VISIBLE: "2"})
    with allotted(3) as all_of_them:
        assert all_of_them == {VISIBLE: "0,1,2"}, "given back"


def test_more_than_there_are_is_all_there_are() -> None:
    os.environ[VISIBLE] = "0"
    with allotted(8) as environment:
        assert environment == {VISIBLE: "0"}


def test_a_job_waits_for_enough_and_holds_nothing_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    os.environ[VISIBLE] = "0,1"
    looked, had = threading.Event(), threading.Event()

    class Time:
        @staticmethod
        def sleep(_seconds: float) -> None:
            looked.set()
            had.wait(0.01)

    monkeypatch.setattr(gpus, "time", Time)

    def wait_for_both() -> None:
        with allotted(2) as environment:
            assert environment == {VISIBLE: "0,1"}
            had.set()

    job = threading.Thread(target=wait_for_both)
    with allotted(1):
        job.start()
        assert looked.wait(30)
        with allotted(1) as other:
            assert other == {VISIBLE: "1"}
        assert not had.is_set()
    job.join(30)
    assert had.is_set()

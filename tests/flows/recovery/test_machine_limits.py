"""Names and sizes of one machine's limits, by its environment."""

import os

import pytest

from flows.recovery.machine_limits import capacity, limit_name, limit_names

HOST = "gpu7"


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMWORKS_HOST", HOST)
    assert limit_names() == [f"gpu:{HOST}", f"packing:{HOST}"]
    assert limit_name("light") == ""
    monkeypatch.setenv("STEMWORKS_HOST", "")
    assert limit_names() == [], "a pod shares its GPUs with no other run"
    monkeypatch.delenv("STEMWORKS_HOST")
    assert limit_names()[0] == f"gpu:{os.uname().nodename}"


def test_without_a_gpu_one_job_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert (capacity("gpu"), capacity("packing")) == (1, 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert (capacity("gpu"), capacity("packing")) == (2, 1)

"""The policy of tasks: what is waited for."""

import threading
from pathlib import Path

import pytest

from flows import tasks
from flows.stages import Built, Inputs, Performed, Site, Stage, perform
from flows.tasks import patiently
from pipelines.config import FmaConfig
from storage.layout import Home
from tests.flows.test_stages import Silent


def test_a_stage_in_other_hands_is_awaited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes second waits, says so once, and finds it done."""
    monkeypatch.setattr(tasks, "LOCK_SECONDS", 0.02)
    home, config, said = Home(tmp_path), FmaConfig(), list[str]()
    built = threading.Event()
    waiting = threading.Event()

    def build(site: Site, config: FmaConfig, inputs: Inputs) -> Built:
        assert not built.is_set(), "built once"
        built.set()
        assert waiting.wait(60)
        path = tmp_path / "made"
        path.write_text("x")
        return Built({"made": path}, {})

    def say(line: str) -> None:
        said.append(line)
        waiting.set()

    stage = Stage("slow", 1, build)
    site = Site(home, stage.work(config, {}).key, Silent())
    first: list[Performed] = []
    other = threading.Thread(target=lambda: first.append(perform(site, stage, config, {})))
    other.start()
    assert built.wait(60)
    mark, cached = patiently(lambda: perform(site, stage, config, {}), say)
    other.join()
    assert cached
    assert mark == first[0].mark
    assert len(said) == 1
    assert "waits for another run: stage slow is being done by another process" in said[0]

"""Prometheus' numbers of a home, read back by Prometheus' own parser."""

import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flows.ui import metrics
from flows.ui.metrics import Numbers
from flows.ui.progress import Standing
from flows.ui.run_card import JOBS
from storage.home.layout import Home
from storage.home.marks import all_marks
from tests import synthesised

pytestmark = pytest.mark.slow
Samples = dict[tuple[str, ...], float]


def read(text: str) -> dict[str, Samples]:
    """Return each metric's samples by their labels' values, in the labels' order."""
    return {
        family.name: {tuple(one.labels.values()): one.value for one in family.samples}
        for family in text_string_to_metric_families(text)
    }


def test_a_finished_study(finished: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "flows", "metrics", "--home", str(finished)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = read(answer.stdout)
    assert found["stemworks_work_done"]["pack",] == 5
    assert found["stemworks_work_failed"] == {}
    kept = {("kept", ""): len(synthesised.FMA_CLIPS)}
    dropped = {
        (outcome, reason): count
        for outcome, reasons in (
            ("filtered", synthesised.FMA_FILTERED),
            ("quarantined", synthesised.FMA_QUARANTINED),
        )
        for reason, count in reasons.items()
    }
    assert found["stemworks_tracks"] == kept | dropped
    assert found["stemworks_clips"] == {(): sum(synthesised.FMA_CLIPS.values())}
    jobs = [mark for mark in all_marks(Home(finished)) if mark.stage in JOBS]
    spent = sum(found["stemworks_gpu_seconds"].values())
    assert spent == pytest.approx(sum(mark.seconds for mark in jobs))
    assert len(found["stemworks_training_loss_db"]) == 3
    assert found["stemworks_training_step"] == found["stemworks_training_steps"]
    states = set(found["stemworks_stage_state"])
    assert ("smoke", "report", "done") in states
    assert {state for _, _, state in states} == {"done"}


def test_a_run_keeps_a_file(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, file = Home(finished), tmp_path / "works.prom"
    standings = {'odd "name"\\': Standing(), "census": Standing(state="failed")}
    metrics.keep(home, "smoke", standings)
    assert not list(tmp_path.iterdir()), "nobody asked for it"
    monkeypatch.setenv(metrics.FILE, str(file))
    metrics.keep(home, "smoke", standings)
    states = set(read(file.read_text())["stemworks_stage_state"])
    assert states == {("smoke", 'odd "name"\\', "running"), ("smoke", "census", "failed")}
    assert list(tmp_path.iterdir()) == [file], "nothing half written is left"
    assert file.stat().st_mode & 0o777 == 0o644


def test_what_changes_is_read_again(copied: Path) -> None:
    home = Home(copied)
    numbers = Numbers(home)
    before = read(numbers.exposition({}))
    next(copied.glob("marks/pack/*.json")).unlink()
    (copied / "marks/pack/lost.failed").write_text('{"error": "gone"}')
    after = read(numbers.exposition({}))
    assert after["stemworks_work_done"]["pack",] == before["stemworks_work_done"]["pack",] - 1
    assert after["stemworks_work_failed"] == {("pack",): 1}

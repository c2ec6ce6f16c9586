"""What is drawn and what is heard: logs, smoothing, frequency axis, the budget of sound."""

import json
from pathlib import Path

import numpy as np
import pytest

from training.report.figures import sounds
from training.report.figures.charts import smoothed
from training.report.material import read_losses

RATE = 22_050


def metrics(path: Path) -> Path:
    """Write a run's log with everything that may be wrong with one."""
    rows: list[object] = [{"kind": "system", "gpu": 1}, {"kind": "train"}, 3]
    rows += [
        {"kind": "train", "step": step, "loss": -step / 10, "examples_per_second": 8.0}
        for step in range(30)
    ]
    rows.append({"kind": "train", "step": 30, "loss": None})
    rows.append({"kind": "validation", "step": 20, "loss": -1.5})
    rows.append({"kind": "train", "step": 29, "loss": -4.0})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"kind": "tra')
    return path


def test_logs_are_read_with_tolerance(tmp_path: Path) -> None:
    read = read_losses(metrics(tmp_path / "metrics.jsonl"))
    assert len(read.train) == 30
    assert read.train[-1] == (29, -4.0)  # the later line of a repeated step
    assert read.validation == [(20, -1.5)]
    assert read.speed == 8.0


def test_smoothing_keeps_a_constant() -> None:
    assert smoothed([2.0] * 50) == pytest.approx([2.0] * 50)


def test_sound_is_cut_down_to_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, RATE * 7)).astype(np.float32)
    excerpt = sounds.Excerpt("noise", RATE, {("mixture", "reference"): noise})
    (whole,) = sounds.players([excerpt])
    assert whole["mixture", "reference"].seconds == 6
    assert not whole["mixture", "reference"].mono
    monkeypatch.setattr(sounds, "AUDIO_BUDGET", 200_000)
    (cut,) = sounds.players([excerpt])
    assert cut["mixture", "reference"].mono
    assert cut["mixture", "reference"].seconds == 4


def test_low_frequencies_stand_low_in_the_picture() -> None:
    heights = [tick.height for tick in sounds.frequency_ticks(44_100)]
    assert heights == sorted(heights)
    assert 0 < heights[0] < heights[-1] < 100

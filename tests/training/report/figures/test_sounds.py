"""What is heard: the frequency axis, the budget of sound."""

import numpy as np
import pytest

from training.report.figures import sounds

RATE = 22_050


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

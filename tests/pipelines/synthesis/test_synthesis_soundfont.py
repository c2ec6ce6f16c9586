"""The sampled instruments: sound from when a note starts, nothing carried from call to call."""

from pathlib import Path

import numpy as np
import pytest

from pipelines.synthesis import soundfont
from pipelines.synthesis.score import SAMPLE_RATE, Note, Part
from storage.errors import MachineError

PIANO = Part("other", 0, (Note(0.25, 0.5, 60, 100),), pan=0.0)


def test_silence_until_the_note() -> None:
    sound = soundfont.play([PIANO], SAMPLE_RATE)
    assert sound.shape == (SAMPLE_RATE, 2)
    assert not sound[: SAMPLE_RATE // 4].any()
    assert np.abs(sound[SAMPLE_RATE // 4 :]).max() > 1e-3
    left, right = np.square(sound).sum(axis=0)
    assert left > 10 * right


def test_nothing_carries_over() -> None:
    first = soundfont.play([PIANO], SAMPLE_RATE)
    soundfont.play([Part("drums", 0, (Note(0.0, 0.2, 49, 120),), drums=True)], SAMPLE_RATE)
    np.testing.assert_array_equal(soundfont.play([PIANO], SAMPLE_RATE), first)


def test_no_parts_no_sound() -> None:
    assert not soundfont.play([], 100).any()


def test_vibrato_bends_the_pitch() -> None:
    notes = (Note(0.0, 1.0, 69, 100),)
    straight = soundfont.play([Part("vocals", 52, notes)], SAMPLE_RATE)
    wavering = soundfont.play([Part("vocals", 52, notes, vibrato=0.5)], SAMPLE_RATE)
    before, after = slice(0, SAMPLE_RATE // 8), slice(SAMPLE_RATE // 2, SAMPLE_RATE)
    # Not equal: the player moves its envelopes once per block, and events end blocks.
    np.testing.assert_allclose(straight[before], wavering[before], atol=1e-3)
    assert np.abs(straight[after] - wavering[after]).max() > 1e-2


def test_a_missing_soundfont_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MachineError, match="install pretty_midi"):
        soundfont.soundfont_path.__wrapped__()

"""The singer: on pitch, with vibrato, within its notes."""

import numpy as np
import pytest

from pipelines.synthesis.score import SAMPLE_RATE, Note, Singer
from pipelines.synthesis.voice import sing

SINGER = Singer(1.0, 0.02, 8, 0.0, 5.0, 0.02, doubled=False)


@pytest.mark.parametrize("pitch", [48, 60, 69])
def test_a_note_sounds_at_its_pitch(pitch: int) -> None:
    frames = 2 * SAMPLE_RATE
    line = sing((Note(0.5, 1.0, pitch, 100),), SINGER, frames, np.random.default_rng(0))
    assert line.shape == (frames, 2)
    assert not line[: SAMPLE_RATE // 2].any()
    held = line[int(0.8 * SAMPLE_RATE) : int(1.4 * SAMPLE_RATE), 0].astype(float)
    products = np.fft.irfft(np.abs(np.fft.rfft(held, 2 * len(held))) ** 2)
    period = 40 + int(np.argmax(products[40:800]))
    expected = 440 * 2 ** ((pitch - 69) / 12)
    ratio = SAMPLE_RATE / period / expected
    # The period itself, or a whole number of them.
    assert abs(ratio * round(1 / ratio) - 1) < 0.03


def test_notes_beyond_the_end_are_cut() -> None:
    notes = (Note(0.0, 0.4, 60, 90), Note(0.4, 5.0, 62, 90), Note(9.0, 1.0, 64, 90))
    line = sing(notes, SINGER, SAMPLE_RATE, np.random.default_rng(0))
    assert line.shape == (SAMPLE_RATE, 2)
    assert np.abs(line[-100:]).max() > 0


def test_a_doubled_singer_is_wide() -> None:
    double = Singer(1.2, 0.05, 9, 0.3, 5.5, 0.03, doubled=True)
    line = sing((Note(0.0, 0.8, 64, 100),), double, SAMPLE_RATE, np.random.default_rng(0))
    assert np.abs(line[:, 0] - line[:, 1]).max() > 1e-3

"""Correlation of left and right, against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.measures.correlation import Correlation
from tests.pipelines.measures.sounds import measured, noise
from tests.synthesised import RATE, Sound

LOW = 100


def correlation(sound: Sound, rate: int = RATE) -> float | None:
    measure = Correlation(rate)
    measured(measure, sound, rate)
    return measure.whole()["correlation"]


@given(share=st.floats(-1, 1), seed=st.integers(0, 9))
def test_it_is_what_the_definition_says(share: float, seed: int) -> None:
    left, other = noise(2.5, seed=seed, rate=LOW).astype(np.float64)
    sound = np.stack([left, share * left + (1 - abs(share)) * other]).astype(np.float32)
    a, b = sound.astype(np.float64)
    expected = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    assert correlation(sound, LOW) == pytest.approx(expected, abs=1e-4)
    seconds = measured(Correlation(LOW), sound, LOW)
    assert len(seconds) == 3
    middle = slice(LOW, 2 * LOW)
    expected = (a[middle] * b[middle]).sum() / np.sqrt(
        (a[middle] ** 2).sum() * (b[middle] ** 2).sum()
    )
    assert seconds[1] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("gain", [1.0, 0.25, 1e-6])
def test_one_channel_twice_is_1_whatever_its_level(gain: float) -> None:
    mono = gain * noise(3)[0]
    assert correlation(np.stack([mono, mono])) == 1.0
    assert correlation(np.stack([mono, 0.5 * mono])) == 1.0
    assert correlation(np.stack([mono, -mono])) == -1.0


def test_independent_channels_have_about_none() -> None:
    found = correlation(noise(4))
    assert found is not None
    assert abs(found) < 0.02


def test_it_is_undefined_where_a_channel_is_silent() -> None:
    sound = noise(2)
    sound[1] = 0
    assert correlation(sound) is None
    assert measured(Correlation(RATE), np.zeros((2, RATE), np.float32)) == [None]

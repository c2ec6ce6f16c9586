"""Clipping, against a count of one sample after the other."""

from itertools import groupby

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.measures.clipping import FULL_SCALE, RUN, Clipping
from storage.audio.waveforms import quantise
from tests.pipelines.measures.sounds import measured, noise
from tests.synthesised import Sound

LOW = 10
LEVELS = (0.0, 0.5, -0.99, 1.0, -1.0, 1.3, -1.3, float(np.float32(FULL_SCALE)))


def plain_runs(sound: Sound) -> list[int]:
    """Return the length of each run, in each channel, counted in plain Python."""
    return [
        len(list(group))
        for channel in sound.tolist()
        for full, group in groupby(abs(value) >= FULL_SCALE for value in channel)
        if full
    ]


@given(
    left=st.lists(st.sampled_from(LEVELS), min_size=1, max_size=45),
    seed=st.integers(0, 99),
)
def test_it_is_what_a_plain_count_gives(left: list[float], seed: int) -> None:
    right = np.random.default_rng(seed).permutation(left)
    sound = np.array([left, right], np.float32)
    measure = Clipping(LOW)
    seconds = measured(measure, sound, LOW)
    full = np.abs(sound) >= FULL_SCALE
    assert seconds == [int(full[:, at : at + LOW].sum()) for at in range(0, len(left), LOW)]
    runs = plain_runs(sound)
    whole = measure.whole()
    assert whole["clipped_share"] == float(f"{full.mean():.4g}")
    assert whole["clipped_runs"] == sum(run >= RUN for run in runs)
    assert whole["longest_clipped_run"] == max(runs, default=0)


def test_a_run_continues_in_the_next_seconds() -> None:
    sound = np.zeros((2, 5 * LOW), np.float32)
    sound[1, LOW - 2 : 3 * LOW + 4] = 1.0
    measure = Clipping(LOW)
    assert measured(measure, sound, LOW) == [2, 10, 10, 4, 0]
    assert measure.whole() == {
        "clipped_share": 0.26,
        "clipped_runs": 1,
        "longest_clipped_run": 26,
    }


def test_the_largest_sample_of_16_bits_is_full_scale_on_either_side() -> None:
    loud = np.array([[1.0, 0.99998, -1.0, 0.9999]] * 2, np.float32)
    stored = (quantise(loud).T / 32_768).astype(np.float32)
    assert measured(Clipping(4), stored, 4) == [6]


def test_music_below_full_scale_has_none() -> None:
    measure = Clipping(1000)
    assert measured(measure, np.clip(noise(2, rate=1000), -0.9, 0.9), 1000) == [0, 0]
    assert set(measure.whole().values()) == {0}

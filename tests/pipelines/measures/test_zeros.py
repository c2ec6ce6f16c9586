"""Digital silence, against a look at one frame after the other."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.measures.zeros import ZERO, Zeros
from storage.audio.waveforms import quantise
from tests.pipelines.measures.sounds import measured
from tests.synthesised import Sound

LOW = 10
VALUES = (0.0, -0.0, float(np.float32(ZERO)), 1e-9, 1e-3, -0.5, 2e-5)


def plain(sound: Sound) -> tuple[int, int]:
    """Return the frames of 16 bits of zeros at the beginning and at the end."""
    silent = [not any(frame) for frame in quantise(sound).tolist()]
    sounding = [place for place, one in enumerate(silent) if not one]
    if not sounding:
        return len(silent), len(silent)
    return sounding[0], len(silent) - 1 - sounding[-1]


@given(
    st.lists(st.tuples(st.sampled_from(VALUES), st.sampled_from(VALUES)), min_size=1, max_size=45),
    st.integers(0, 25),
    st.integers(0, 25),
)
def test_it_is_what_a_plain_look_gives(
    frames: list[tuple[float, float]], before: int, behind: int
) -> None:
    zeros = [(0.0, 0.0)]
    sound = np.array(before * zeros + frames + behind * zeros, np.float32).T
    measure = Zeros(LOW)
    seconds = measured(measure, sound, LOW)
    silent = np.all(quantise(sound) == 0, axis=1)
    assert seconds == [
        round(int(silent[at : at + LOW].sum()) / LOW, 3) for at in range(0, len(silent), LOW)
    ]
    leading, trailing = plain(sound)
    assert measure.whole() == {
        "leading_zeros_seconds": leading / LOW,
        "trailing_zeros_seconds": trailing / LOW,
    }


def test_one_channel_is_enough_to_be_heard() -> None:
    sound = np.zeros((2, 4 * LOW), np.float32)
    sound[1, 7], sound[0, 33] = 0.1, -0.1
    measure = Zeros(LOW)
    assert measured(measure, sound, LOW) == [0.9, 1.0, 1.0, 0.9]
    assert measure.whole() == {"leading_zeros_seconds": 0.7, "trailing_zeros_seconds": 0.6}

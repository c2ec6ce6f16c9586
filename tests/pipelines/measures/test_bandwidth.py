"""Bandwidth: where sound ends, whatever rate its file states."""

import numpy as np
import pytest
import soxr

from pipelines.measures.bandwidth import SIZE, Bandwidth
from storage.audio.waveforms import quantise
from tests.pipelines.measures.sounds import low_passed, measured, noise, sine
from tests.synthesised import RATE, Sound, as_file, decoded

LINE = RATE / SIZE


def bandwidth(sound: Sound) -> float | None:
    measure = Bandwidth(RATE)
    measured(measure, sound)
    return measure.whole()["bandwidth_hz"]


@pytest.mark.parametrize("hertz", [500, 8000, 15_000, 16_000, 20_000])
def test_noise_ends_where_it_was_cut(hertz: int) -> None:
    found = bandwidth(low_passed(noise(3), hertz))
    # A window spreads a line over its neighbours.
    assert found == pytest.approx(hertz, abs=6 * LINE)


def test_noise_of_all_frequencies_reaches_half_the_rate() -> None:
    assert bandwidth(noise(2)) == RATE / 2


@pytest.mark.parametrize("hertz", [3000, 12_345])
def test_a_tone_is_heard_in_either_channel_and_in_opposite_ones(hertz: int) -> None:
    tone = sine(2, hertz, 0.1)
    for gains in ([1, 0], [0, 1], [1, -1], [1, 1]):
        sound = tone * np.array(gains, np.float32)[:, None]
        assert bandwidth(sound) == pytest.approx(hertz, abs=6 * LINE), gains


def test_what_comes_of_a_lower_rate_has_its_bandwidth() -> None:
    upsampled = soxr.resample(noise(3, rate=22_050).T, 22_050, RATE).T
    assert 10_000 < (bandwidth(upsampled) or 0) < 11_300


def test_an_mp3_of_a_low_bit_rate_is_found_out() -> None:
    sound = decoded(as_file(low_passed(noise(4), 11_000)))
    assert bandwidth(sound) == pytest.approx(11_000, abs=700)


def test_rounding_to_16_bits_is_no_sound() -> None:
    cut = low_passed(noise(2, 0.01), 9000)
    rounded = (quantise(cut).T / 32_768).astype(np.float32)
    assert bandwidth(rounded) == pytest.approx(9000, abs=8 * LINE)


def test_a_click_does_not_widen_a_track_and_soft_seconds_do_not_narrow_it() -> None:
    sound = low_passed(noise(30), 9000)
    sound[:, 10 * RATE : 16 * RATE] = 0
    sound[:, 22 * RATE + RATE // 3] = 0.9
    assert bandwidth(sound) == pytest.approx(9000, abs=8 * LINE)


def test_seconds_of_silence_have_none_and_a_silent_track_has_no_bandwidth() -> None:
    measure = Bandwidth(RATE)
    assert measured(measure, np.zeros((2, 2 * RATE), np.float32)) == [0, 0]
    assert measure.whole() == {"bandwidth_hz": None}


@pytest.mark.parametrize("frames", [100, SIZE, SIZE + 1])
def test_a_rest_of_any_length_is_measured(frames: int) -> None:
    (found,) = measured(Bandwidth(RATE), noise(1, 0.5)[:, :frames])
    assert found is not None
    assert 15_000 < found <= RATE / 2


def test_a_rest_of_one_frame_is_measured() -> None:
    (found,) = measured(Bandwidth(RATE), noise(1)[:, :1])
    assert found is not None

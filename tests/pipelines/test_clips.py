"""Clips: whole, on the second, at the corpus's rate; silence by the letter of each rule."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.clips import Clip, conform, cut, kept_seconds, key_of, second_powers, sounding
from pipelines.config import ClipConfig, FilterConfig
from storage.decode import Decoded
from storage.errors import DecodeError
from tests.synthesised import RATE, Sound, tune

LOW = 100
"""Hz: a rate at which silence rules can be tried on minutes of sound."""


def decoded(sound: Sound, rate: int) -> Decoded:
    return Decoded(sound, rate, "test", sound.shape[1], 0)


def levels(decibels: list[float]) -> Sound:
    """One second at each level, as a constant in both channels."""
    gains = [10 ** (level / 20) for level in decibels]
    return np.repeat(np.array([gains, gains], np.float32), LOW, axis=1)


def survivors(decibels: list[float], config: FilterConfig) -> list[int]:
    sound = levels(decibels)
    return [clip.number for clip in sounding(sound, cut(sound, LOW, ClipConfig()), config)]


@settings(max_examples=60, deadline=None)
@given(frames=st.integers(0, 60 * LOW), seconds=st.integers(1, 12), hop=st.integers(1, 7))
def test_clips_are_whole_and_as_many_as_fit(frames: int, seconds: int, hop: int) -> None:
    config = ClipConfig(seconds=seconds, hop_seconds=hop)
    clips = cut(np.ones((2, frames), np.float32), LOW, config)
    whole = frames // LOW
    assert len(clips) == (0 if whole < seconds else (whole - seconds) // hop + 1)
    for number, clip in enumerate(clips):
        assert (clip.number, clip.start_seconds) == (number, number * hop)
        assert (clip.frames.stop - clip.frames.start) == seconds * LOW
        assert clip.frames.stop <= frames
        assert len(clip.power_db) == seconds


def test_power_is_the_mean_square_over_channels_and_samples() -> None:
    sound = np.zeros((2, 2 * LOW + 50), np.float32)
    sound[0, :LOW] = 0.5
    sound[1, LOW : 2 * LOW] = 1.0
    np.testing.assert_allclose(second_powers(sound, LOW), [0.125, 0.5], rtol=1e-12)
    (clip,) = cut(sound, LOW, ClipConfig(seconds=2))
    np.testing.assert_allclose(clip.power_db, [-9.031, -3.010], atol=1e-3)


def test_power_is_summed_in_double_precision() -> None:
    sound = np.full((2, RATE), 1e-3, np.float32)
    exact = float(np.float32(1e-3)) ** 2
    assert abs(second_powers(sound, RATE)[0] - exact) < 1e-12 * exact


def test_digital_silence_has_a_finite_level() -> None:
    (clip,) = cut(np.zeros((2, LOW), np.float32), LOW, ClipConfig(seconds=1))
    assert clip.power_db == (-120.0,)


def test_more_than_five_silent_seconds_drop_a_clip() -> None:
    assert survivors([-20.0] * 5 + [-61.0] * 5, FilterConfig()) == [0]
    assert survivors([-20.0] * 4 + [-61.0] * 6, FilterConfig()) == []
    assert survivors([-20.0] * 4 + [-59.0] * 6, FilterConfig()) == [0]
    # Clips start at 0, 5 and 10 s; six silent seconds lie in the second alone.
    gap = [-20.0] * 7 + [-80.0] * 6 + [-20.0] * 7
    assert survivors(gap, FilterConfig()) == [0, 2]
    assert survivors(gap, FilterConfig(silent_seconds=6)) == [0, 1, 2]
    assert survivors(gap, FilterConfig(silence_db=-90)) == [0, 1, 2]


def test_the_official_rule_drops_the_whole_track_for_exact_zeros() -> None:
    rule = FilterConfig(silence="official")
    sound = np.ones((2, 30 * LOW), np.float32)
    clips = cut(sound, LOW, ClipConfig())
    sound[:, 500:949] = 0
    # Nine half seconds, hardly: 5.0-9.5 s less one sample, then all of it.
    assert len(sounding(sound, clips, rule)) == len(clips)
    sound[:, 500:1000] = 0
    assert sounding(sound, clips, rule) == []
    sound[:, 500:1000] = 1e-9
    assert len(sounding(sound, clips, rule)) == len(clips)


def test_mono_becomes_two_equal_channels() -> None:
    sound = tune(0.5, channels=1)
    stereo = conform(decoded(sound, RATE), RATE)
    np.testing.assert_array_equal(stereo, np.concatenate([sound, sound]))


def test_the_corpus_rate_is_left_alone() -> None:
    sound = tune(0.5)
    np.testing.assert_array_equal(conform(decoded(sound, RATE), RATE), sound)


@pytest.mark.parametrize("rate", [48_000, 88_200, 96_000])
def test_higher_rates_are_resampled(rate: int) -> None:
    config = ClipConfig(seconds=2, hop_seconds=1)
    sound = tune(2.0, rate=rate)
    lower = conform(decoded(sound, rate), RATE)
    assert lower.dtype == np.float32
    assert lower.shape == (2, 2 * RATE)
    assert len(cut(lower, RATE, config)) == 1
    clean = np.sin(2 * np.pi * 220 * np.arange(2 * RATE) / RATE)
    assert np.corrcoef(lower[0], clean)[0, 1] > 0.9


def test_more_than_two_channels_are_refused() -> None:
    with pytest.raises(DecodeError, match="3 channels") as caught:
        conform(decoded(tune(0.1, channels=3), RATE), RATE)
    assert caught.value.reason == "channels"


def test_kept_seconds_count_each_second_once() -> None:
    clips = cut(np.ones((2, 30 * LOW), np.float32), LOW, ClipConfig())
    assert kept_seconds(clips) == 30
    assert kept_seconds([clips[0], clips[1], clips[4]]) == 25
    assert kept_seconds([]) == 0


def test_one_name_follows_one_sound() -> None:
    assert key_of("000002", Clip(3, 15, slice(0, 1), ())) == "t000002_c0003"

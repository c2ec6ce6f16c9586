"""Clips: whole, on the second, at the corpus's rate; silence by the letter of each rule."""

from collections.abc import Iterator

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.config import ClipConfig, FilterConfig
from pipelines.packing.clips import (
    Clip,
    Conformer,
    Cutter,
    clipped,
    key_of,
    piece_seconds,
    second_powers,
)
from storage.audio.decoding import Form
from storage.errors import DecodeError
from tests.synthesised import RATE, Sound, tune

LOW = 100
"""Hz: a rate at which silence rules can be tried on minutes of sound."""


def blocks(sound: Sound, size: int) -> Iterator[Sound]:
    return (sound[:, start : start + size] for start in range(0, sound.shape[1], size))


def cut(
    sound: Sound,
    clips: ClipConfig | None = None,
    filters: FilterConfig | None = None,
    size: int = 777,
) -> tuple[Cutter, list[Clip]]:
    cutter = Cutter(LOW, clips or ClipConfig(), filters or FilterConfig())
    return cutter, [clip for block in blocks(sound, size) for clip in cutter.take(block)]


def conform(sound: Sound, rate: int, size: int = 10_007) -> Sound:
    conformer = Conformer(Form(rate, sound.shape[0], "test"), RATE)
    parts = [conformer.take(block).copy() for block in blocks(sound, size)]
    return np.concatenate([*parts, conformer.rest()], axis=1)


def sound_of(clip: Clip) -> Sound:
    return np.concatenate([piece.sound for piece in clip.pieces], axis=1)


def levels(decibels: list[float]) -> Sound:
    """One second at each level, as a constant in both channels."""
    gains = [10 ** (level / 20) for level in decibels]
    return np.repeat(np.array([gains, gains], np.float32), LOW, axis=1)


def survivors(decibels: list[float], config: FilterConfig) -> list[int]:
    return [clip.number for clip in cut(levels(decibels), filters=config)[1] if clip.kept]


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(0, 60 * LOW),
    seconds=st.integers(1, 12),
    hop=st.integers(1, 15),
    size=st.integers(1, 5000),
)
def test_clips_are_whole_and_as_many_as_fit(frames: int, seconds: int, hop: int, size: int) -> None:
    config = ClipConfig(seconds=seconds, hop_seconds=hop)
    sound = np.random.default_rng(frames).uniform(-1, 1, (2, frames)).astype(np.float32)
    cutter, clips = cut(sound, config, size=size)
    whole = frames // LOW
    assert len(clips) == (0 if whole < seconds else (whole - seconds) // hop + 1) == cutter.clips
    for number, clip in enumerate(clips):
        assert (clip.number, clip.start_seconds) == (number, number * hop)
        start = number * hop * LOW
        np.testing.assert_array_equal(sound_of(clip), sound[:, start : start + seconds * LOW])
        power = np.square(sound_of(clip).astype(np.float64)).reshape(2, seconds, LOW)
        np.testing.assert_allclose(clip.power_db, 10 * np.log10(power.mean(axis=(0, 2))), rtol=1e-9)


def test_overlapping_clips_share_their_pieces() -> None:
    _, (first, second) = cut(np.ones((2, 15 * LOW), np.float32))
    assert piece_seconds(ClipConfig()) == 5
    assert first.pieces[1] is second.pieces[0]
    assert [piece.number for piece in second.pieces] == [1, 2]
    assert piece_seconds(ClipConfig(seconds=10, hop_seconds=4)) == 2


def test_power_is_the_mean_square_over_channels_and_samples() -> None:
    sound = np.zeros((2, 2 * LOW + 50), np.float32)
    sound[0, :LOW] = 0.5
    sound[1, LOW : 2 * LOW] = 1.0
    np.testing.assert_allclose(second_powers(sound, LOW), [0.125, 0.5], rtol=1e-12)
    _, (clip,) = cut(sound, ClipConfig(seconds=2))
    np.testing.assert_allclose(clip.power_db, [-9.031, -3.010], atol=1e-3)


def test_power_is_summed_in_double_precision() -> None:
    sound = np.full((2, RATE), 1e-3, np.float32)
    exact = float(np.float32(1e-3)) ** 2
    assert abs(second_powers(sound, RATE)[0] - exact) < 1e-12 * exact


def test_digital_silence_has_a_finite_level() -> None:
    _, (clip,) = cut(np.zeros((2, LOW), np.float32), ClipConfig(seconds=1))
    assert clip.power_db == (-120.0,)


def test_overshoot_is_counted() -> None:
    sound = np.zeros((2, LOW), np.float32)
    sound[0, 3], sound[1, 4], sound[0, 5], sound[1, 6] = 1.0001, -1.5, 1.0, -1.0
    assert clipped(sound) == 2
    assert clipped(np.clip(sound, -1, 1)) == 0


@settings(deadline=None)
@given(st.lists(st.sampled_from([-1.5, -1.0, -0.1, 0.0, 1.0, 1.5]), min_size=2, max_size=12))
def test_clipped_is_what_a_count_gives(values: list[float]) -> None:
    sound = np.array([values, values[::-1]], np.float32)
    assert clipped(sound) == 2 * sum(abs(value) > 1 for value in values)


def test_more_than_five_silent_seconds_drop_a_clip() -> None:
    assert survivors([-20.0] * 5 + [-61.0] * 5, FilterConfig()) == [0]
    assert survivors([-20.0] * 4 + [-61.0] * 6, FilterConfig()) == []
    assert survivors([-20.0] * 4 + [-59.0] * 6, FilterConfig()) == [0]
    # Clips start at 0, 5 and 10 s; six silent seconds lie in the second alone.
    gap = [-20.0] * 7 + [-80.0] * 6 + [-20.0] * 7
    assert survivors(gap, FilterConfig()) == [0, 2]
    assert survivors(gap, FilterConfig(silent_seconds=6)) == [0, 1, 2]
    assert survivors(gap, FilterConfig(silence_db=-90)) == [0, 1, 2]


def test_the_loudest_second_of_any_clip_is_known() -> None:
    # The last second lies in no clip.
    cutter, _ = cut(levels([-70.0] * 9 + [-61.0] + [-10.0]))
    assert cutter.loudest == pytest.approx(-61, abs=1e-4)


@pytest.mark.parametrize("size", [1000, 10**6])
def test_mono_becomes_two_equal_channels(size: int) -> None:
    sound = tune(0.5, channels=1)
    np.testing.assert_array_equal(conform(sound, RATE, size), np.concatenate([sound, sound]))


def test_the_corpus_rate_is_left_alone() -> None:
    sound = tune(0.5)
    np.testing.assert_array_equal(conform(sound, RATE), sound)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [48_000, 88_200, 96_000])
def test_higher_rates_are_resampled_as_if_at_once(rate: int, channels: int) -> None:
    sound = tune(2.0, rate=rate, channels=channels)
    lower = conform(sound, rate)
    assert lower.dtype == np.float32
    assert lower.shape == (2, 2 * RATE)
    at_once = soxr.resample(sound.T, rate, RATE, "HQ").T
    np.testing.assert_array_equal(lower[:channels], at_once)
    clean = np.sin(2 * np.pi * 220 * np.arange(2 * RATE) / RATE)
    assert np.corrcoef(lower[0], clean)[0, 1] > 0.9


def test_more_than_two_channels_are_refused() -> None:
    with pytest.raises(DecodeError, match="3 channels") as caught:
        Conformer(Form(RATE, 3, "test"), RATE)
    assert caught.value.reason == "channels"


def test_one_name_follows_one_sound() -> None:
    assert key_of("000002", Clip(3, 15, (), kept=True)) == "t000002_c0003"

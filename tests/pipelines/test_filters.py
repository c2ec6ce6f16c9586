"""Filters: each rejects for its own reason, in a fixed order."""

import numpy as np
import pytest

from pipelines.clips import Clip
from pipelines.config import FilterConfig, FmaConfig
from pipelines.filters import Rejection, judge, silent
from storage.decode import Decoded


def song(seconds: float, rate: int = 44_100, channels: int = 2) -> Decoded:
    sound = np.zeros((channels, round(seconds * rate)), np.float32)
    return Decoded(sound, rate, "test", sound.shape[1], 0)


@pytest.mark.parametrize(
    ("decoded", "reason"),
    [
        (song(10.0), None),
        (song(10.0, 48_000), None),
        (song(10.0, channels=1), None),
        (song(9.99), "too_short"),
        (song(9.99, 48_000), "too_short"),
        (song(30.0, 32_000), "rate_below_44100"),
        (song(3.0, 22_050, 1), "rate_below_44100"),
    ],
)
def test_reasons(decoded: Decoded, reason: str | None) -> None:
    rejection = judge(decoded, FmaConfig())
    assert (rejection.reason if rejection else None) == reason


def test_the_reason_carries_the_configured_rate_and_the_measured_one() -> None:
    config = FmaConfig(filters=FilterConfig(sample_rate=48_000))
    assert judge(song(30.0), config) == Rejection("rate_below_48000", "44100 Hz")


def test_mono_is_dropped_where_asked() -> None:
    config = FmaConfig(filters=FilterConfig(mono="drop"))
    rejection = judge(song(12.0, channels=1), config)
    assert rejection is not None
    assert rejection.reason == "mono"
    assert judge(song(12.0), config) is None


def test_a_track_is_silent_when_no_clip_survives() -> None:
    clip = Clip(0, 0, slice(0, 10), (-80.0, -70.5))
    assert silent([clip], [clip]) is None
    rejection = silent([clip], [])
    assert rejection == Rejection("silent", "none of 1 clips; loudest second -70.5 dBFS")

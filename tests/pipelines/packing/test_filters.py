"""Filters: each rejects for its own reason, in a fixed order, as soon as it can."""

import numpy as np
import pytest

from pipelines.config import ClipConfig, FilterConfig, FmaConfig
from pipelines.packing.clips import Cutter
from pipelines.packing.filters import (
    DECODED,
    MEASURED,
    OPENED,
    PLANNED,
    Measures,
    Rejection,
    judge,
    silent,
)
from storage.audio.decoding import Decoding, Form, Length
from storage.records import Track


def song(seconds: float, rate: int = 44_100, channels: int = 2) -> Decoding:
    frames = round(seconds * rate)
    return Decoding(rate, channels, "test", Length(frames, "exact"), frames)


def form(rate: int = 44_100, channels: int = 2) -> Form:
    return Form(rate, channels, "test")


def track(licence: str = "", duplicate_of: str = "") -> Track:
    return Track(
        id="000002", member="song.mp3", bytes=1, licence=licence, duplicate_of=duplicate_of
    )


@pytest.mark.parametrize(
    ("decoded", "reason"),
    [(song(10.0), None), (song(9.99), "too_short"), (song(9.99, 48_000), "too_short")],
)
def test_lengths(decoded: Decoding, reason: str | None) -> None:
    rejection = judge(DECODED, decoded, FmaConfig())
    assert (rejection.reason if rejection else None) == reason


@pytest.mark.parametrize(
    ("opened", "reason"),
    [
        (form(), None),
        (form(48_000), None),
        (form(channels=1), None),
        (form(32_000), "rate_below_44100"),
        (form(22_050, 1), "rate_below_44100"),
    ],
)
def test_forms(opened: Form, reason: str | None) -> None:
    rejection = judge(OPENED, opened, FmaConfig())
    assert (rejection.reason if rejection else None) == reason


def test_the_reason_carries_the_configured_rate_and_the_measured_one() -> None:
    config = FmaConfig(filters=FilterConfig(sample_rate=48_000))
    assert judge(OPENED, form(), config) == Rejection("rate_below_48000", "44100 Hz")


@pytest.mark.parametrize(
    "rules", [FilterConfig(mono="drop"), FilterConfig(silence="official")], ids=["mono", "silence"]
)
def test_mono_is_dropped_where_asked(rules: FilterConfig) -> None:
    config = FmaConfig(filters=rules)
    assert judge(OPENED, form(channels=1), config) == Rejection("mono", "1 channel")
    assert judge(OPENED, form(), config) is None


@pytest.mark.parametrize(
    ("held", "allowed"),
    [
        ("Attribution", True),
        ("attribution-sharealike 3.0", True),
        ("CC0 1.0 Universal", True),
        ("Attribution-NonCommercial", False),
        ("All rights reserved", False),
        ("", False),
    ],
)
def test_licences_are_allowed_by_pattern_whatever_the_case(held: str, allowed: bool) -> None:
    config = FmaConfig(filters=FilterConfig(licences=("attribution", "*SHAREALIKE*", "CC0*")))
    rejection = judge(PLANNED, track(held), config)
    assert rejection == (None if allowed else Rejection("licence", held or "none stated"))
    assert judge(PLANNED, track(held), FmaConfig()) is None


def test_duplicates_are_dropped_unless_kept_and_licences_come_first() -> None:
    twin = track("Free", duplicate_of="000001")
    assert judge(PLANNED, twin, FmaConfig()) == Rejection("duplicate", "the bytes of track 000001")
    assert judge(PLANNED, twin, FmaConfig(filters=FilterConfig(duplicates="keep"))) is None
    rejection = judge(PLANNED, twin, FmaConfig(filters=FilterConfig(licences=("CC*",))))
    assert rejection is not None
    assert rejection.reason == "licence"


GOOD: Measures = {
    "bandwidth_hz": 20_000,
    "correlation": 0.7,
    "clipped_share": 0.0,
    "loudness_lufs": -14.0,
    "leading_zeros_seconds": 0.1,
    "trailing_zeros_seconds": 0.2,
}


@pytest.mark.parametrize(
    ("limit", "at", "beyond", "rejection"),
    [
        (
            "min_bandwidth_hz=16000",
            {"bandwidth_hz": 16_000},
            {"bandwidth_hz": 15_999},
            Rejection("bandwidth_below_16000", "15999 Hz"),
        ),
        (
            "max_correlation=0.98",
            {"correlation": 0.98},
            {"correlation": 1.0},
            Rejection("correlation_above_0.98", "1"),
        ),
        (
            "max_clipped_share=0.001",
            {"clipped_share": 0.001},
            {"clipped_share": 0.0012},
            Rejection("clipped_above_0.001", "0.0012"),
        ),
        (
            "min_loudness_lufs=-30",
            {"loudness_lufs": -30.0},
            {"loudness_lufs": -30.1},
            Rejection("loudness_below_-30", "-30.1 LUFS"),
        ),
        (
            "max_zeros_seconds=2",
            {"leading_zeros_seconds": 2.0, "trailing_zeros_seconds": 2.0},
            {"trailing_zeros_seconds": 2.5},
            Rejection("zeros_above_2", "2.5 s"),
        ),
        (
            "max_zeros_seconds=0.5",
            {"leading_zeros_seconds": 0.5},
            {"leading_zeros_seconds": 3.0},
            Rejection("zeros_above_0.5", "3 s"),
        ),
    ],
)
def test_what_is_measured_is_judged_where_a_limit_is_given(
    limit: str, at: Measures, beyond: Measures, rejection: Rejection
) -> None:
    config = FmaConfig().override([f"filters.{limit}"])
    assert judge(MEASURED, {**GOOD, **at}, config) is None
    assert judge(MEASURED, {**GOOD, **beyond}, config) == rejection
    assert judge(MEASURED, {**GOOD, **beyond}, FmaConfig()) is None


def test_what_is_undefined_or_was_not_measured_is_not_judged() -> None:
    limits = ["min_bandwidth_hz=16000", "max_correlation=0", "min_loudness_lufs=-1"]
    config = FmaConfig().override([f"filters.{limit}" for limit in limits])
    assert judge(MEASURED, {}, config) is None
    assert judge(MEASURED, {"bandwidth_hz": None, "correlation": None}, config) is None


def test_a_silent_track_says_how_loud_it_is() -> None:
    cutter = Cutter(100, ClipConfig(seconds=2, hop_seconds=2), FilterConfig(silent_seconds=0))
    (clip,) = cutter.take(np.full((2, 200), 10 ** (-70.5 / 20), np.float32))
    assert not clip.kept
    assert silent(cutter) == Rejection("silent", "none of 1 clips; loudest second -70.5 dBFS")

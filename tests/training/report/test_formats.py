"""Numbers as text: every branch, and no number that rounds to a lie."""

import math

import pytest

from training.report.formats import count, decibels, duration, grouped, narrow_span, signed, span


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (math.nan, "–"), (-0.001, "0.00"), (-1.5, "−1.50"), (2, "2.00")],
)
def test_numbers_are_written_with_two_decimals(value: float | None, text: str) -> None:
    assert decibels(value) == text


def test_differences_carry_their_sign() -> None:
    assert [signed(1.0), signed(-1.0), signed(None)] == ["+1.00", "−1.00", "–"]


def test_intervals_have_both_ends() -> None:
    assert span((-1.0, 2.345)) == "−1.00 to 2.35"
    assert span(None) == "–"
    assert narrow_span((-1.0, 2.35)) == "−1.0…2.4"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (60, "1 min 00 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_lengths_of_time(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts_agree_with_their_noun() -> None:
    assert [count(number, "song") for number in (0, 1, 1234)] == [
        "0 songs",
        "1 song",
        "1,234 songs",
    ]
    assert grouped(1_234_567) == "1,234,567"

"""Numbers, intervals and counts as a report, a run card and a command line show them."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

UNDEFINED = "–"
"""Shown for a number that is not there."""


def decibels(value: float | None) -> str:
    """Return a number with two decimals and a true minus sign, or an en dash for none."""
    if value is None or not math.isfinite(value):
        return UNDEFINED
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")


def signed(value: float | None) -> str:
    """Return a difference with its sign."""
    text = decibels(value)
    return text if text[0] in "−–" else f"+{text}"


def span(ends: tuple[float, float] | None) -> str:
    """Return an interval as `5.10 to 6.42`, or an en dash for none."""
    return f"{decibels(ends[0])} to {decibels(ends[1])}" if ends else UNDEFINED


def narrow_span(ends: tuple[float, float]) -> str:
    """Return an interval as `5.1…6.4`, for below a number of a dense table."""
    return "…".join(f"{end:.1f}".replace("-", "−") for end in ends)


def duration(seconds: float) -> str:
    """Return a length of time as `7.5 s`, `12 min 05 s` or `3 h 07 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def grouped(number: int) -> str:
    """Return a whole number with its thousands apart, `1,234`."""
    return f"{number:,}"


def count(number: int, noun: str) -> str:
    """Return a number of things with its noun, `1 song` or `50 songs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def ranges(edges: Sequence[float]) -> list[str]:
    """Return the ranges that edges part, in words: `below 1`, `1 to 2`, `2 or more`."""
    texts = [f"{edge:f}".rstrip("0").rstrip(".").replace("-", "−") for edge in edges]
    between = [f"{low} to {high}" for low, high in pairwise(texts)]
    return [f"below {texts[0]}", *between, f"{texts[-1]} or more"]


def hours_of(census: Mapping[str, Any], outcome: str, reason: str) -> float:
    """Return the hours that were decoded of the tracks of one outcome, and not kept if not kept."""
    if outcome == "kept":
        return float(census.get("hours", 0.0))
    return float(census.get("hours_lost", {}).get(reason, 0.0))

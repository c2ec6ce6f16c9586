"""Values as people read them: three digits, and the unit that needs no powers of ten."""

from collections.abc import Sequence

from tests.benchmarks.report.form import Target

SPANS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def number(value: float) -> str:
    """Return three significant digits, or all that stand before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def with_unit(value: float, unit: str) -> str:
    """Return a value and its unit; seconds in the unit that suits them."""
    if unit == "s":
        return seconds(value)
    return f"{number(value)} {unit}".rstrip()


def seconds(value: float) -> str:
    """Return seconds as s, ms or µs."""
    for size, unit in SPANS:
        # From this size on, three digits of the unit say 1.00 or more.
        if value >= 0.9995 * size:
            return f"{number(value / size)} {unit}"
    return f"{number(value / SPANS[-1][0])} {SPANS[-1][1]}"


def spread(values: Sequence[float], unit: str) -> str:
    """Return the least and the greatest of several values; of one, nothing."""
    if len(values) == 1:
        return ""
    return f"{with_unit(min(values), unit)} to {with_unit(max(values), unit)}"


def verdict(value: float, unit: str, target: Target | None) -> str:
    """Return what was aimed at, and whether it was reached; nothing without a target."""
    if target is None:
        return ""
    bound, side = (
        (target.at_most, "at most") if target.at_most is not None else (target.at_least, "at least")
    )
    met = "met" if target.met(value) else "**not met**"
    return f"{side} {bound:g} {unit}".rstrip() + f": {met}"

"""A benchmark: what is measured, how, and what that does not show."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.benchmarks.report.form import Measurement


@dataclass(frozen=True)
class Benchmark:
    """One entry of the table, and one section of the page."""

    name: str
    title: str
    words: str
    """What is measured and how. No measured number: those come from the results."""
    omitted: str
    """What is not shown by it."""
    run: Callable[[bool], Measurement]
    """Measure; where the argument is true, as quickly as it can be done, to see that it runs."""

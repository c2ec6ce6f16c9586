"""Hours by ranges of a figure: every measured hour is in one range."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.measures.distributions import Distributions
from pipelines.measures.measure import Figure
from storage.records import LedgerRow

FIGURE = Figure("level", "Level", (0.0, 10.0, 20.0))


def row(seconds: float, **measures: float | None) -> LedgerRow:
    return LedgerRow(
        track="1", outcome="filtered", reason="mono", seconds=seconds, measures=measures
    )


def test_an_edge_belongs_to_the_range_above() -> None:
    sums = Distributions([FIGURE])
    sums.add(row(3600, level=level) for level in (-1, 0, 9.9, 10, 19, 20, 500))
    sums.add([row(3600, level=None), row(3600, other=3), row(3600)])
    found = sums.found()["level"]
    assert found.hours == (1.0, 2.0, 2.0, 2.0)
    assert (found.words, found.edges) == ("Level", FIGURE.edges)


@given(st.lists(st.tuples(st.integers(0, 9000), st.floats(-50, 50)), max_size=20))
def test_no_hour_is_lost(tracks: list[tuple[int, float]]) -> None:
    sums = Distributions([FIGURE])
    sums.add([row(seconds, level=level) for seconds, level in tracks])
    hours = sum(sum(one.hours) for one in sums.found().values())
    assert abs(hours - sum(seconds for seconds, _ in tracks) / 3600) < 1e-5


def test_what_was_not_measured_has_no_distribution() -> None:
    sums = Distributions()
    sums.add([row(30)])
    assert sums.found() == {}

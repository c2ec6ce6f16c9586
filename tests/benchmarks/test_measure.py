"""Turns, and ratios: paired by round."""

import statistics
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.measure import Variant, clocked, in_turns
from tests.benchmarks.report.form import Comparison, Measurement, Row, Target, paired

TIMES = st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=1, max_size=9)


def test_the_order_turns_by_one_place_and_each_is_warmed_once() -> None:
    done: list[str] = []

    def work(name: str) -> Callable[[], None]:
        return lambda: done.append(name)

    variants = [
        Variant("a", "ours", work("a")),
        Variant("b", "other", work("b"), rounds=1, warmed=False),
        Variant("c", "floor", work("c")),
    ]
    rows = in_turns(variants, 3)
    assert "".join(done) == "ac" + "abc" + "ca" + "ca"
    assert [len(row.seconds) for row in rows] == [3, 1, 3]
    assert [(row.variant, row.role) for row in rows] == [
        ("a", "ours"), ("b", "other"), ("c", "floor"),
    ]  # fmt: skip


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    # One busy round made both slow; the ratio of medians, 4 / 3, would not know.
    assert paired((2.0, 4.0, 9.0), (1.0, 4.0, 3.0)) == 2.0


def test_fewer_rounds_are_held_against_the_first_ones() -> None:
    assert paired((6.0,), (2.0, 100.0, 100.0)) == 3.0


@given(TIMES)
def test_load_that_slows_a_whole_round_changes_no_ratio(times: list[tuple[float, float]]) -> None:
    ours, theirs = zip(*times, strict=True)
    load = [1.0 + 3 * number for number in range(len(times))]
    busy = [tuple(one * by for one, by in zip(side, load, strict=True)) for side in (theirs, ours)]
    assert paired(busy[0], busy[1]) == pytest.approx(paired(theirs, ours))


@given(TIMES)
def test_paired_is_what_it_says(times: list[tuple[float, float]]) -> None:
    ours, theirs = zip(*times, strict=True)
    by_hand = sorted(a / b for a, b in zip(theirs, ours, strict=True))
    assert paired(theirs, ours) == pytest.approx(statistics.median(by_hand))


def test_ours_is_the_first_row_and_comparisons_name_theirs() -> None:
    rows = (
        Row(variant="ours", role="ours", seconds=(1.0, 2.0)),
        Row(variant="script", role="library", seconds=(3.0, 8.0)),
        Row(variant="floor", role="floor", seconds=(0.5, 1.0)),
    )
    compared = Comparison(what="script / floor", over="script", under="floor")
    found = Measurement(amount=1, unit="song", rows=rows, comparisons=(compared,))
    assert [found.against_ours(row) for row in rows] == [1.0, 3.5, 0.5]
    assert found.ratio(compared) == 7.0


def test_processor_time_leaves_waiting_out() -> None:
    slept = 0.3
    assert clocked(lambda: time.sleep(slept), "wall") >= slept
    assert clocked(lambda: time.sleep(slept), "processor") < slept


@pytest.mark.parametrize(
    ("target", "good", "bad"),
    [(Target(at_most=1.2), 1.2, 1.21), (Target(at_least=1.3), 1.3, 1.29)],
)
def test_a_target_has_a_right_side(target: Target, good: float, bad: float) -> None:
    assert target.met(good)
    assert not target.met(bad)

"""Bootstrap intervals against scipy's, a plain loop and their promised coverage."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from training.scoring import bootstrap
from training.scoring.bootstrap import Interval, intervals, resample

SCORES = st.lists(
    st.lists(st.one_of(st.none(), st.floats(-30, 30)), min_size=3, max_size=3),
    min_size=2,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(SCORES, st.sampled_from(["median", "mean"]), st.integers(0, 5))
def test_intervals_lie_within_the_scores_and_repeat(
    scores: list[list[float | None]], statistic: str, seed: int
) -> None:
    found = intervals(scores, statistic, resamples=200, seed=seed)  # type: ignore[arg-type]
    assert found == intervals(scores, statistic, resamples=200, seed=seed)  # type: ignore[arg-type]
    for stem, interval in enumerate(found.stems):
        known = [value for row in scores if (value := row[stem]) is not None]
        assert (interval is None) == (len(known) < 2)
        if interval:
            slack = 1e-9
            assert min(known) - slack <= interval.low <= interval.high <= max(known) + slack
    assert (found.average is None) == (None in found.stems)


@settings(max_examples=30, deadline=None)
@given(SCORES, st.floats(-20, 20), st.floats(0.1, 5))
def test_intervals_follow_shift_and_scale(
    scores: list[list[float | None]], shift: float, scale: float
) -> None:
    moved = [[None if x is None else scale * x + shift for x in row] for row in scores]
    before, after = (intervals(each, "mean", resamples=100) for each in (scores, moved))
    for one, other in zip(
        (*before.stems, before.average), (*after.stems, after.average), strict=True
    ):
        if one and other:
            expected = [scale * end + shift for end in one]
            assert list(other) == pytest.approx(expected, abs=1e-6)


def test_a_wider_level_is_a_wider_interval() -> None:
    scores = np.random.default_rng(0).normal(size=(30, 2)).tolist()
    narrow, wide = (intervals(scores, "median", level).stems[0] for level in (0.5, 0.99))
    assert narrow
    assert wide
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_as_a_plain_loop_finds_them(statistic: str) -> None:
    scores = np.random.default_rng(3).normal(size=(9, 2))
    scores[2, 1] = np.nan
    drawn = np.random.default_rng(7).integers(9, size=(50, 9))
    plain = [
        [getattr(np, f"nan{statistic}")(scores[rows, stem]) for stem in range(2)] for rows in drawn
    ]
    assert np.allclose(resample(scores, statistic, 50, seed=7), plain)  # type: ignore[arg-type]


@pytest.mark.parametrize("statistic", ["mean", "median"])
@pytest.mark.parametrize(("songs", "stems"), [(2, 1), (9, 4), (50, 6)])
def test_as_scipy_finds_them(statistic: str, songs: int, stems: int) -> None:
    """From the same seed, scipy draws the same songs: the ends are equal, not merely close."""
    scores = np.random.default_rng(songs).normal(5, 2, size=(songs, stems))
    over_songs = getattr(np, statistic)

    def average(*columns: np.ndarray, axis: int) -> np.ndarray:
        found: np.ndarray = np.mean([over_songs(one, axis=axis) for one in columns], axis=0)
        return found

    ours = intervals(scores.tolist(), statistic, 0.9, 2000, seed=4)  # type: ignore[arg-type]
    asked = {"confidence_level": 0.9, "n_resamples": 2000, "method": "percentile"}
    each = stats.bootstrap((scores,), over_songs, axis=0, rng=np.random.default_rng(4), **asked)
    # Each song keeps its stems together.
    paired = stats.bootstrap(
        tuple(scores.T), average, paired=True, rng=np.random.default_rng(4), **asked
    )
    expected = np.transpose(each.confidence_interval)
    assert np.array(ours.stems) == pytest.approx(expected, abs=1e-9)
    assert ours.average == pytest.approx(tuple(paired.confidence_interval), abs=1e-9)


def test_an_undefined_score_costs_scipy_the_interval_and_us_one_song() -> None:
    """The reason why ours is kept."""
    scores = np.random.default_rng(1).normal(size=(20, 1))
    scores[3] = np.nan
    with pytest.warns(stats.DegenerateDataWarning):
        theirs = stats.bootstrap((scores,), np.mean, axis=0, method="percentile", n_resamples=500)
    assert np.isnan(theirs.confidence_interval.low).all()
    found = intervals(scores.tolist(), "mean").stems[0]
    assert found
    without = intervals(np.delete(scores, 3, axis=0).tolist(), "mean").stems[0]
    assert without
    # Not the same draws: a resample of 20 songs holds 19 scores or so.
    assert found == pytest.approx(without, abs=0.1)


def test_means_are_covered_as_often_as_promised() -> None:
    draw = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        scores = draw.normal(5.0, 2.0, size=(50, 1)).tolist()
        found = intervals(scores, "mean", resamples=400, seed=trial).stems[0]
        assert found
        hits += found.low <= 5.0 <= found.high
    assert 0.88 < hits / 200 < 0.99


def test_what_has_no_interval() -> None:
    assert intervals([], "mean").stems == ()
    assert intervals([[1.0, 2.0]], "mean") == ((None, None), None)
    unknown = intervals([[1.0, math.nan], [2.0, math.inf], [3.0, 4.0]], "mean")
    assert unknown.stems[0] is not None
    assert unknown.stems[1] is None
    assert unknown.average is None
    assert intervals([[2.0], [2.0]], "median").average == Interval(2.0, 2.0)


def test_the_seed_of_a_published_table_stays() -> None:
    scores = np.random.default_rng(3).normal(size=(9, 2)).tolist()
    assert intervals(scores, "mean", resamples=50) == intervals(
        scores, "mean", resamples=50, seed=0
    )


@pytest.mark.parametrize("block", [1, 24, 70])
def test_drawn_in_parts_it_is_the_same(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(4).normal(size=(4, 3))
    whole = resample(scores, "mean", 11, seed=5)
    monkeypatch.setattr(bootstrap, "BLOCK", block)
    assert np.array_equal(resample(scores, "mean", 11, seed=5), whole)

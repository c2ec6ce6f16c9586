"""Figures do not depend on how sound was read, and follow the seconds of the track."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.measures.measurer import Measurer
from pipelines.measures.table import FIGURES, MEASURES
from tests.pipelines.measures.sounds import found, noise
from tests.synthesised import tune

LOW = 8000


@settings(max_examples=30, deadline=None)
@given(
    frames=st.integers(1, 4 * LOW),
    sizes=st.lists(st.integers(1, 2 * LOW), max_size=12),
    seed=st.integers(0, 3),
)
def test_blocks_of_any_size_give_the_same_figures(frames: int, sizes: list[int], seed: int) -> None:
    sound = noise(4, 0.4, seed, LOW)[:, :frames]
    sound[:, frames // 3 : frames // 2] = 0
    at_once = json.dumps(found(sound, rate=LOW))
    assert json.dumps(found(sound, sizes, rate=LOW)) == at_once


def test_every_second_has_a_figure_and_the_rest_too() -> None:
    seen = found(tune(2.5))
    assert {name: len(values) for name, values in seen["by_second"].items()} == {
        kind.by_second: 3 for kind in MEASURES
    }
    assert list(seen["measures"]) == [figure.name for figure in FIGURES]


def test_whole_seconds_have_no_rest() -> None:
    assert {len(values) for values in found(tune(2.0))["by_second"].values()} == {2}


@pytest.mark.parametrize(
    ("start", "stop", "seconds"),
    [(0, 2, [0, 1]), (1, 3, [1, 2]), (0.5, 1.5, [0, 1]), (2, 4.25, [2, 3, 4]), (4, 6, [4])],
)
def test_a_stretch_has_the_figures_of_the_seconds_that_it_lies_in(
    start: float, stop: float, seconds: list[int]
) -> None:
    sound = np.repeat(np.linspace(0.1, 0.5, 5), LOW)
    steps = np.stack([sound, sound]).astype(np.float32)
    measurer = Measurer(LOW, MEASURES)
    measurer.take(steps[:, : -LOW // 2])
    measurer.close()
    every = measurer.found()["by_second"]
    between = measurer.between(start, stop)
    assert between == {name: [values[n] for n in seconds] for name, values in every.items()}


def test_nothing_is_measured_where_no_measure_is_wanted() -> None:
    assert found(tune(2.0), kinds=()) == {}
    assert Measurer(LOW, ()).between(0, 10) == {}


def test_figures_of_nothing_are_finite_or_none() -> None:
    seen = found(np.zeros((2, 0), np.float32))
    assert seen["by_second"] == {kind.by_second: [] for kind in MEASURES}
    assert json.loads(json.dumps(seen, allow_nan=False)) == seen

"""Losses of a few steps, as they were: a change that moves them changes what training computes.

Numbers may differ in their last digits from one processor to the next, and by no more. Where a
change is meant, train again and put the new numbers here, with the reason in the commit.
"""

import pytest

from tests.training.jobs.test_train import MakeRun, losses_of, still
from training.config import TrainConfig
from training.jobs.train import train

# Of steps 1 and 2, of the validation at 3, of steps 3 and 4, of 5 and 6, of the validation at 6.
GOLDEN: dict[str, list[float]] = {
    "mixit": [-0.23828, -0.20562, -0.42416, -0.87471, -0.38017],
    "supervised": [0.391, 0.0727, -0.04096, -0.08639, -0.07588],
}


@pytest.mark.parametrize("regime", sorted(GOLDEN))
def test_losses_are_what_they_were(
    make_run: MakeRun, request: pytest.FixtureRequest, regime: str
) -> None:
    recipe: TrainConfig = still(request.getfixturevalue(regime))
    run = make_run("golden", "train", recipe)
    train(run)
    assert losses_of(run) == pytest.approx(GOLDEN[regime], abs=5e-3)

"""Learning rates against the former formula and torch's own schedulers; plateaus are resumed."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.recipes import finetune_medium, pretrain_medium
from training.settings.schedules import (
    ConstantSchedule,
    CosineSchedule,
    ExponentialSchedule,
    PlateauSchedule,
    Schedule,
)


def rates(schedule: Schedule, peak: float, steps: int) -> list[float]:
    return [schedule.rate(peak, step, steps, ()) for step in range(steps)]


def test_warm_up_is_never_negative_and_reaches_the_peak() -> None:
    schedule = ExponentialSchedule(warmup_steps=4, decay=0.5, decay_every=2)
    assert rates(schedule, 1.0, 10) == [0.25, 0.5, 0.75, 1, 1, 1, 0.5, 0.5, 0.25, 0.25]


def test_hold_comes_between_warm_up_and_decay() -> None:
    schedule = ExponentialSchedule(warmup_steps=2, hold_steps=5, decay=0.5, decay_every=1)
    assert rates(schedule, 2.0, 8) == [1, 2, 2, 2, 2, 2, 1, 0.5]


@pytest.mark.parametrize("kind", [ExponentialSchedule, CosineSchedule, ConstantSchedule])
def test_no_warm_up(kind: type[Schedule]) -> None:
    assert kind.parse({"warmup_steps": 0}).rate(1.0, 0, 100, ()) == 1


@given(
    st.integers(0, 50), st.integers(0, 60), st.floats(0.1, 1), st.integers(1, 20),
    st.integers(0, 300),
)  # fmt: skip
def test_exponential_is_the_formula_of_the_last_release(
    warmup: int, hold: int, decay: float, every: int, step: int
) -> None:
    schedule = ExponentialSchedule(
        warmup_steps=warmup, hold_steps=hold, decay=decay, decay_every=every
    )
    if step < warmup:
        expected = 3e-4 * (step + 1) / warmup
    else:
        expected = 3e-4 * decay ** (max(0, step - max(warmup, hold)) // every)
    assert schedule.rate(3e-4, step, 10, ()) == expected


def test_the_published_schedules_end_where_they_should() -> None:
    for recipe, share in ((pretrain_medium(), 0.0742), (finetune_medium(), 0.0297)):
        steps = recipe.loop.steps
        last = recipe.schedule.rate(recipe.optim.lr, steps - 1, steps, ())
        assert last / recipe.optim.lr == pytest.approx(share, abs=2e-4)


def optimizer(rate: float) -> torch.optim.SGD:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(1, 60), st.floats(0, 1))
def test_cosine_is_torchs_after_the_warm_up(warmup: int, length: int, final: float) -> None:
    schedule = CosineSchedule(warmup_steps=warmup, final=final)
    ours = rates(schedule, 0.5, warmup + length)
    assert ours[:warmup] == [0.5 * (step + 1) / warmup for step in range(warmup)]
    sgd = optimizer(0.5)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, length, eta_min=0.5 * final)
    for rate in ours[warmup:]:
        assert rate == pytest.approx(theirs.get_last_lr()[0], rel=1e-9, abs=1e-12)
        sgd.step()
        theirs.step()


@pytest.mark.parametrize("steps", [3, 10])
def test_cosine_of_a_run_no_longer_than_its_warm_up(steps: int) -> None:
    schedule = CosineSchedule(warmup_steps=10, final=0.25)
    assert [schedule.share(step, steps, ()) for step in (10, 11)] == [1, 0.25]


def test_cosine_stays_at_its_end_beyond_the_last_step() -> None:
    schedule = CosineSchedule(warmup_steps=3, final=0.25)
    assert [schedule.rate(1.0, step, 10, ()) for step in (10, 11, 1000)] == [0.25] * 3


@settings(deadline=None)
@given(
    st.lists(st.floats(-30, 30) | st.sampled_from([math.nan, math.inf]), max_size=40),
    st.floats(0.1, 0.9),
    st.integers(0, 4),
    st.sampled_from([0.0, 1e-4, 1.0, 5.0]),
    st.sampled_from([0.0, 0.01, 0.5]),
)
def test_plateau_is_torchs(
    losses: list[float], factor: float, patience: int, threshold: float, minimum: float
) -> None:
    schedule = PlateauSchedule(
        warmup_steps=0, factor=factor, patience=patience, threshold=threshold, minimum=minimum
    )
    sgd = optimizer(0.5)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        sgd, mode="min", factor=factor, patience=patience, threshold=threshold,
        threshold_mode="abs", min_lr=0.5 * minimum, eps=0.0,
    )  # fmt: skip
    for count in range(len(losses) + 1):
        ours = schedule.rate(0.5, 100, 1000, losses[:count])
        assert ours == pytest.approx(sgd.param_groups[0]["lr"], rel=1e-9)
        if count < len(losses):
            theirs.step(losses[count])


def test_a_validation_without_a_number_is_no_improvement() -> None:
    schedule = PlateauSchedule(warmup_steps=0, patience=2, factor=0.5)
    assert [schedule.share(0, 1, [math.nan] * count) for count in range(5)] == [1, 1, 1, 0.5, 0.5]


def test_plateau_bears_so_many_validations_without_an_improvement() -> None:
    schedule = PlateauSchedule(warmup_steps=0, factor=0.5, patience=1, threshold=0.1)
    losses = [-1.0, -1.05, -1.05, -2.0, -2.0, -2.0]
    found = [schedule.rate(8.0, 5, 9, losses[:count]) for count in range(7)]
    assert found == [8, 8, 8, 4, 4, 4, 2]


def test_constant_is_the_peak() -> None:
    assert rates(ConstantSchedule(warmup_steps=2), 3.0, 5) == [1.5, 3, 3, 3, 3]


@given(st.integers(0, 5000), st.lists(st.floats(-30, 30), max_size=10))
def test_every_rate_lies_between_nothing_and_the_peak(step: int, losses: list[float]) -> None:
    for kind in (ExponentialSchedule, CosineSchedule, PlateauSchedule, ConstantSchedule):
        rate = kind(warmup_steps=7).rate(0.1, step, 3000, losses)
        assert 0 <= rate <= 0.1
        assert math.isfinite(rate)


def test_a_decay_is_a_share() -> None:
    """More than nothing, and no growth."""
    assert ExponentialSchedule(decay=1.0).share(10**5, 10**6, ()) == 1
    for decay in (0.0, -0.5, 1.01):
        with pytest.raises(ValueError, match="decay"):
            ExponentialSchedule(decay=decay)


def test_a_plateau_halves_the_rate_after_three_validations_unless_told_otherwise() -> None:
    """Down to nothing, as the default of a cosine ends at nothing."""
    schedule = PlateauSchedule()
    assert [schedule.share(0, 1, [-1.0] * count) for count in range(6)] == [1, 1, 1, 1, 0.5, 0.5]
    assert schedule.share(0, 1, [-1.0] * 100) < 1e-6
    assert CosineSchedule(warmup_steps=0).share(10, 10, ()) == 0

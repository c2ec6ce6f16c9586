import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.models.separator import Separation
from training.objectives.mixit.config import MixitObjective
from training.objectives.mixit.statistics import (
    OutputStatistics,
    effective_number,
    energy_shares,
    mixture_snr,
)
from training.objectives.objective import Outcome


@given(st.integers(1, 12), st.integers(0, 5), st.floats(1e-3, 1e3))
def test_so_many_equal_outputs_count_as_so_many(alive: int, dead: int, level: float) -> None:
    outputs = torch.zeros(1, alive + dead, 2, 16)
    outputs[:, :alive] = level
    shares = energy_shares(outputs)
    assert shares.sum() == pytest.approx(1)
    assert effective_number(shares)[0] == pytest.approx(alive, rel=1e-6)


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=6))
def test_the_number_is_between_one_and_all_and_ignores_order(weights: list[float]) -> None:
    shares = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    number = float(effective_number(shares))
    assert number + 1e-9 >= 1
    assert number <= len(weights) + 1e-9
    assert number == pytest.approx(float(effective_number(shares.flip(0))))


def test_silence_has_no_outputs() -> None:
    assert effective_number(energy_shares(torch.zeros(2, 3, 2, 8))).tolist() == [0, 0]


def test_snr_is_of_the_best_assignment_louder_mixture_first() -> None:
    torch.manual_seed(0)
    outputs = torch.randn(3, 4, 1, 400)
    references = torch.stack([outputs[:, [0, 2]].sum(1), outputs[:, [1, 3]].sum(1) * 3], dim=1)
    references = references + 0.3 * torch.randn_like(references)
    found = mixture_snr(outputs, references, MixitObjective(soft_threshold_db=200))
    for example in range(3):
        best = max(
            (
                tuple(snr(outputs[example, list(part)].sum(0), x) for part, x in parts)
                for first in itertools.product([0, 1], repeat=4)
                if (parts := list(zip(split(first), references[example], strict=True)))
            ),
            key=sum,
        )
        assert found[example].tolist() == pytest.approx([best[1], best[0]], abs=1e-3)


def split(first: tuple[int, ...]) -> tuple[list[int], list[int]]:
    chosen = [place for place, bit in enumerate(first) if bit]
    return chosen, [place for place, bit in enumerate(first) if not bit]


def snr(estimate: torch.Tensor, reference: torch.Tensor) -> float:
    error = float((reference - estimate).square().sum())
    return 10 * math.log10(float(reference.square().sum()) / error)


def outcome_of(outputs: torch.Tensor, references: torch.Tensor) -> Outcome:
    inputs = references.sum(1, keepdim=True)
    return Outcome(torch.zeros(()), {}, inputs, Separation(outputs, {}), references)


def test_counts_add_up() -> None:
    torch.manual_seed(0)
    outputs, references = torch.randn(5, 4, 2, 4000), torch.randn(5, 2, 2, 4000)
    whole, *parts = (OutputStatistics(MixitObjective(), 4) for _ in range(3))
    whole.add(outcome_of(outputs, references))
    parts[0].add(outcome_of(outputs[:2], references[:2]))
    parts[1].add(outcome_of(outputs[2:], references[2:]))
    sums = [a + b for a, b in zip(parts[0].sums(), parts[1].sums(), strict=True)]
    for name, value in whole.numbers(whole.sums()).items():
        assert value == pytest.approx(parts[0].numbers(sums)[name]), name
    numbers = whole.numbers(whole.sums())
    assert isinstance(numbers["energy_shares"], list)
    assert sum(numbers["energy_shares"]) == pytest.approx(1)
    assert numbers["alive_outputs"] == pytest.approx(4, abs=0.05)
    assert numbers["dominance"] == pytest.approx(0.25, abs=0.05)


def test_one_example_is_its_own_mean_and_none_is_no_number() -> None:
    torch.manual_seed(0)
    outputs = torch.randn(1, 3, 2, 4000) * torch.tensor([0.7, 0.2, 0.1]).sqrt().view(1, 3, 1, 1)
    statistics = OutputStatistics(MixitObjective(), 3)
    empty = statistics.numbers(statistics.sums())
    assert (empty["dominance"], empty["alive_outputs"]) == (0.0, 0.0)
    statistics.add(outcome_of(outputs, torch.randn(1, 2, 2, 4000)))
    numbers = statistics.numbers(statistics.sums())
    assert numbers["energy_shares"] == pytest.approx([0.7, 0.2, 0.1], abs=0.02)
    assert numbers["dominance"] == pytest.approx(0.7, abs=0.02)
    entropy = -sum(share * math.log(share) for share in (0.7, 0.2, 0.1))
    assert numbers["effective_sources"] == pytest.approx(math.exp(entropy), abs=0.1)

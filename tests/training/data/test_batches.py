import numpy as np
import pytest
import torch
from torch import Tensor

from storage.config import Json
from storage.errors import IntegrityError
from training.data.batches import Batch, Example, Loader, Sources
from training.distributed import ProcessRank


class Counting:
    """Example `number` is filled with its number."""

    def __len__(self) -> int:
        return 5

    def example(self, number: int) -> Example:
        return Example(np.full((2, 1, 3), number, np.float32), np.zeros(1, np.float32))

    def epoch(self) -> Json:
        return {"examples": 5}

    def keys(self, number: int) -> tuple[str, ...]:
        return (f"sample {number}",)

    def mix(self, parts_BPCT: Tensor, gains_db: Tensor) -> Batch:
        return Batch.of_sum(parts_BPCT)


class Broken(Counting):
    def example(self, number: int) -> Example:
        raise IntegrityError("clip is damaged")


def numbers(*batches: Batch) -> list[int]:
    return [int(example.flatten()[0]) for batch in batches for example in batch.references]


@pytest.mark.parametrize("workers", [0, 3])
def test_processes_together_see_what_one_would(workers: int) -> None:
    for step in (0, 4):
        alone = next(
            Loader(Sources(Counting(), Counting()), 6, ProcessRank(), workers).training(step)
        )
        shares = [
            next(
                Loader(Sources(Counting(), Counting()), 6, ProcessRank(rank, 2), workers).training(
                    step
                )
            )
            for rank in range(2)
        ]
        assert numbers(alone) == list(range(6 * step, 6 * step + 6))
        assert sorted(numbers(*shares)) == numbers(alone)


def test_steps_follow_each_other_from_any_step() -> None:
    stream = Loader(Sources(Counting(), Counting()), 2, ProcessRank()).training(3)
    assert [numbers(next(stream)) for _ in range(3)] == [[6, 7], [8, 9], [10, 11]]


def test_a_step_says_what_it_was_made_of() -> None:
    assert Loader(Sources(Counting(), Counting()), 2, ProcessRank()).keys(3) == [
        "sample 6",
        "sample 7",
    ]


def test_validation_covers_every_example_once() -> None:
    for world in (1, 2):
        seen = [
            number
            for rank in range(world)
            for batch in Loader(
                Sources(Counting(), Counting()), 2, ProcessRank(rank, world)
            ).validation()
            for number in numbers(batch)
        ]
        assert sorted(seen) == [0, 1, 2, 3, 4]


def test_a_damaged_example_is_heard_of() -> None:
    with pytest.raises(IntegrityError, match="damaged"):
        next(Loader(Sources(Broken(), Broken()), 2, ProcessRank()).training(0))


def pieces_of(inputs: int) -> Batch:
    """Return five examples of so many inputs and three references, no number twice."""
    counted = torch.arange(5 * (inputs + 3) * 2 * 7, dtype=torch.float32).view(5, -1, 2, 7)
    return Batch(counted[:, :inputs], counted[:, inputs:])


@pytest.mark.parametrize("inputs", [1, 2, 9])
@pytest.mark.parametrize("examples", [0, 1, 2, 5, 8])
def test_a_batch_in_pieces_is_the_batch(inputs: int, examples: int) -> None:
    batch = pieces_of(inputs)
    pieces = batch.split(examples)
    assert [piece.size for piece in pieces] == {
        0: [5], 1: [1] * 5, 2: [2, 2, 1], 5: [5], 8: [5]
    }[examples]  # fmt: skip
    assert torch.equal(torch.cat([piece.inputs for piece in pieces]), batch.inputs)
    assert torch.equal(torch.cat([piece.references for piece in pieces]), batch.references)
    first = batch.first(3)
    assert first.size == 3
    assert torch.equal(first.inputs, batch.inputs[:3])
    assert torch.equal(first.references, batch.references[:3])


def test_the_input_of_a_mixture_is_its_references_sum() -> None:
    references = pieces_of(1).references
    batch = Batch.of_sum(references)
    assert batch.references is references
    assert batch.inputs.shape == (5, 1, 2, 7)
    assert torch.equal(batch.inputs[:, 0], references[:, 0] + references[:, 1] + references[:, 2])


class Mixers(Counting):
    """Two stems of others' as inputs, beside one reference that is not their sum."""

    def mix(self, parts_BPCT: Tensor, gains_db: Tensor) -> Batch:
        return Batch(parts_BPCT * 2, parts_BPCT[:, :1] * 5)


def test_a_sources_inputs_need_not_be_the_sum_of_its_references() -> None:
    batch = next(Loader(Sources(Mixers(), Mixers()), 2, ProcessRank()).training(1))
    assert batch.inputs.shape == (2, 2, 1, 3)
    assert batch.references.shape == (2, 1, 1, 3)
    assert batch.inputs[:, :, 0, 0].tolist() == [[4, 4], [6, 6]]
    assert batch.references[:, 0, 0, 0].tolist() == [10, 15]

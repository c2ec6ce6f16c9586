"""What guards the sample, as `python -m tests.mutants --module sample` runs it."""

from tests.mutants.sample import mean


def test_mean() -> None:
    assert mean([1.0, 2.0, 6.0]) == 3.0

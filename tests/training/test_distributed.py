import pytest
import torch

from storage.errors import ConfigError, MachineError
from training.distributed import ProcessRank, join, require_examples
from training.runtime import RuntimeConfig


def test_alone() -> None:
    with join(RuntimeConfig(device="cpu", threads=1)) as place:
        assert (place.rank, place.world, place.leads) == (0, 1, True)
        assert place.sum(1.5, 2) == [1.5, 2]
        assert place.agree(7) == 7
        model = torch.nn.Linear(1, 1)
        assert place.wrap(model) is model


def test_precision() -> None:
    for precision, expected in (("auto", torch.float32), ("bf16", torch.bfloat16)):
        with join(RuntimeConfig(device="cpu"), precision) as place, place.autocast():  # type: ignore[arg-type]
            assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_a_device_that_is_not_there() -> None:
    with (
        pytest.raises(MachineError, match=r"runtime\.device=cpu"),
        join(RuntimeConfig(device="cuda")),
    ):
        pass


def test_shares_partition_a_batch() -> None:
    shares = [list(ProcessRank(rank, 3).share(10, 17)) for rank in range(3)]
    assert sorted(number for share in shares for number in share) == list(range(10, 17))


def test_more_processes_than_examples() -> None:
    require_examples(ProcessRank(0, 2), 2)
    with pytest.raises(ConfigError, match=r"set runtime.processes to 2 or less"):
        require_examples(ProcessRank(0, 3), 2)

import pytest
import torch
from torch import Tensor

from tests.training.models.bs_locoformer.test_parity import noise, relative_error, tiny
from training.engine.acceleration import accelerate
from training.models.bs_locoformer.model import BsLocoformer
from training.runtime import RuntimeConfig

CPU = torch.device("cpu")
RECOMPUTE = ("nothing", "cheap", "everything")


def made(recompute: str, compiled: str = "off", **changes: object) -> BsLocoformer:
    model = tiny(**changes)
    runtime = RuntimeConfig.parse({"recompute": recompute, "compile": compiled})
    accelerate(model, runtime, CPU)
    return model


def answer(model: BsLocoformer) -> tuple[Tensor, Tensor]:
    """Return the output and all gradients of one training step."""
    torch.manual_seed(5)
    y = model.train()(noise(2, 1, 2, 7_000))
    torch.autograd.backward((y * noise(*y.shape)).sum())
    gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return y.detach(), torch.cat(gradients)


class Kept:
    """Bytes that autograd keeps for the backward pass, each storage counted once."""

    def __init__(self) -> None:
        self.storages: dict[int, int] = {}

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self.storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    @property
    def total(self) -> int:
        return sum(self.storages.values())


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_recomputing_changes_no_bit(dropout: float) -> None:
    plain = answer(made("nothing", dropout=dropout))
    for recompute in RECOMPUTE[1:]:
        again = answer(made(recompute, dropout=dropout))
        assert all(torch.equal(*both) for both in zip(plain, again, strict=True))


def test_recomputing_keeps_less() -> None:
    kept = {}
    for recompute in ("nothing", "everything"):
        model, counter = made(recompute), Kept()
        with torch.autograd.graph.saved_tensors_hooks(counter.pack, lambda tensor: tensor):
            y = model(noise(2, 1, 2, 30_000))
        kept[recompute] = counter.total
        del y
    assert kept["everything"] < 0.7 * kept["nothing"]


def test_without_gradients_nothing_is_recomputed() -> None:
    x = noise(1, 1, 2, 5_000)
    with torch.no_grad():
        assert torch.equal(made("everything")(x), made("nothing")(x))


# Dynamo looks at the gradients of a region's inputs; Inductor uses what torch has deprecated.
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.slow
@pytest.mark.parametrize("recompute", ["nothing", "cheap"])
def test_compiled_bodies_give_the_same_answers(recompute: str) -> None:
    torch._dynamo.reset()
    plain, compiled = answer(made("nothing")), answer(made(recompute, "on"))
    for ours, expected in zip(compiled, plain, strict=True):
        assert relative_error(ours, expected) <= 1e-5
    model = made(recompute, "on").eval()
    assert model.state_dict().keys() == made("nothing").state_dict().keys()
    x = noise(1, 1, 2, 5_000)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert relative_error(model(x), made("nothing").eval()(x)) < 0.05

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.training.models.bs_locoformer.test_parity import noise, relative_error, tiny
from training.engine.acceleration import accelerate
from training.models.bs_locoformer.model import BsLocoformer
from training.settings.runtime import RuntimeConfig

CPU = torch.device("cpu")
RECOMPUTE = ("nothing", "cheap", "everything")


SMALL: dict[str, Any] = {"blocks": 1, "outputs": 2, "n_fft": 256, "hop": 64, "sample_rate": 8_000}
"""One path along each axis, and few bands: compilers take their time by the line."""


def made(recompute: str, compiled: str = "off", **changes: object) -> BsLocoformer:
    model = tiny(**changes)
    runtime = RuntimeConfig.parse({"recompute": recompute, "compile": compiled})
    accelerate(model, runtime, CPU)
    return model


def answer(model: BsLocoformer) -> tuple[Tensor, Tensor]:
    """Return the output and all gradients of one training step."""
    torch.manual_seed(5)
    y = model.train()(noise(2, 1, 2, 3_000))
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
def test_compiled_bodies_give_the_same_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """In training, whatever is recomputed; and then in evaluation, where nothing is."""
    # Else each of its compilers is a process that imports torch.
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)
    torch._dynamo.reset()
    model = made("nothing", **SMALL)
    plain = answer(model)
    for recompute in ("nothing", "cheap"):
        compiled = made(recompute, "on", **SMALL)
        for ours, expected in zip(answer(compiled), plain, strict=True):
            assert relative_error(ours, expected) <= 1e-5
    assert compiled.state_dict().keys() == model.state_dict().keys()
    x = noise(2, 1, 2, 3_000)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert relative_error(compiled.eval()(x), model.eval()(x)) < 0.05

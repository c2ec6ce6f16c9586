"""How a model runs, never what it computes: compiled bodies, and activations that are recomputed.

Parameters keep their names, so that checkpoints know nothing of it.
"""

import torch

from training.models.separator import Separator
from training.runtime import RuntimeConfig

GRAPHS_OF_ONE_BODY = 64
"""Shapes, axes and modes (training, evaluation) that one body is compiled for before giving up."""


def accelerate(model: Separator, runtime: RuntimeConfig, device: torch.device) -> None:
    """Make a model run as `runtime.compile` and `runtime.recompute` say, in place."""
    model.set_recompute(runtime.recompute)
    if runtime.compile == "on" or (runtime.compile == "auto" and device.type == "cuda"):
        compile_bodies(model)


def compile_bodies(model: Separator, mode: str | None = None) -> None:
    """Compile a model's bodies for the shapes that they will meet, in place.

    `mode` is `torch.compile`'s; none is its default.
    """
    torch._dynamo.config.recompile_limit = GRAPHS_OF_ONE_BODY
    for body in model.bodies():
        # One graph per shape: segments are of one length, and fixed shapes make faster kernels.
        body.compile(dynamic=False, mode=mode)

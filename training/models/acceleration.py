"""How a model runs, never what it computes: compiled regions, and activations that are recomputed.

Only bodies are compiled, one at a time: encoder, each path, decoder. Transforms and complex numbers
stay outside, for which Inductor has no kernels. Parameters keep their names, so that checkpoints
know nothing of it.
"""

import torch

from training.config import RuntimeConfig
from training.models.bs_locoformer.model import BsLocoformer, Path
from training.models.separator import Separator

GRAPHS_OF_ONE_BODY = 64
"""Shapes, axes and modes (training, evaluation) that one body is compiled for before giving up."""


def accelerate(model: Separator, runtime: RuntimeConfig, device: torch.device) -> None:
    """Make a model run as `runtime.compile` and `runtime.recompute` say, in place."""
    if not isinstance(model, BsLocoformer):
        return
    for path in model.modules():
        if isinstance(path, Path):
            path.recompute = runtime.recompute
    if runtime.compile == "on" or (runtime.compile == "auto" and device.type == "cuda"):
        compile_bodies(model)


def compile_bodies(model: BsLocoformer, mode: str | None = None) -> None:
    """Compile encoder, paths and decoder for the shapes that they will meet, in place.

    `mode` is `torch.compile`'s; none is its default.
    """
    torch._dynamo.config.recompile_limit = GRAPHS_OF_ONE_BODY
    paths = [body for body in model.modules() if isinstance(body, Path)]
    for body in (model.encoder, *paths, model.decoder):
        # One graph per shape: segments are of one length, and fixed shapes make faster kernels.
        body.compile(dynamic=False, mode=mode)

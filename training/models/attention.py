"""What models of attention share: calls that every kernel accepts, and activations recomputed.

Tensors: A sequences, H heads, L tokens of a sequence, d features of a head.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from training.models.separator import Recompute

SEQUENCES_AT_ONCE = 65_535
"""Most sequences of one attention call: CUDA's kernels lay them along a grid's y or z axis."""

aten = torch.ops.aten
KEPT: Sequence[Any] = [
    aten.convolution.default,
    aten.mm.default,
    aten.addmm.default,
    aten._scaled_dot_product_flash_attention.default,
    aten._scaled_dot_product_efficient_attention.default,
    aten._scaled_dot_product_cudnn_attention.default,
    aten._scaled_dot_product_flash_attention_for_cpu.default,
]
"""What `recompute = "cheap"` keeps; norms, gates, rotations and dropout are computed twice."""


def attend(query_AHLd: Tensor, key_AHLd: Tensor, value_AHLd: Tensor, dropout: float) -> Tensor:
    """Return scaled dot-product attention [A, H, L, d], in several calls where A is large.

    Args:
        query_AHLd: [A, H, L, d].
        key_AHLd: likewise.
        value_AHLd: likewise.
        dropout: share of the attention's weights that is dropped; 0 in evaluation.
    """
    calls = -(-len(query_AHLd) // SEQUENCES_AT_ONCE)
    if calls == 1:
        return _attend_at_once(query_AHLd, key_AHLd, value_AHLd, dropout)
    parts = zip(
        query_AHLd.chunk(calls), key_AHLd.chunk(calls), value_AHLd.chunk(calls), strict=True
    )
    return torch.cat([_attend_at_once(*part, dropout) for part in parts])


def _attend_at_once(query: Tensor, key: Tensor, value: Tensor, dropout: float) -> Tensor:
    if query.is_cuda:
        return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
    # On CPU the fused kernel's bfloat16 gradient takes twice as long as its float32 one.
    with torch.autocast(query.device.type, enabled=False):
        full = query.float(), key.float(), value.float()
        return F.scaled_dot_product_attention(*full, dropout_p=dropout)


def recomputed(function: Callable[..., Tensor], *given: Any, mode: Recompute) -> Tensor:
    """Call a function whose activations the backward pass recomputes, as `mode` says."""
    if mode == "nothing" or not torch.is_grad_enabled():
        return function(*given)
    kept = list(KEPT) if mode == "cheap" else []
    contexts = partial(create_selective_checkpoint_contexts, kept)
    result: Tensor = checkpoint(function, *given, use_reentrant=False, context_fn=contexts)
    return result

"""The community's own package as an oracle, and checkpoints and YAML written in its true form."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own
from bs_roformer import BSRoformer
from torch import Tensor, nn

from training.models.bs_roformer.config import BsRoformerConfig


def community_settings(config: BsRoformerConfig) -> dict[str, Any]:
    """Return the `model:` part of a community YAML."""
    return {
        "dim": config.width,
        "depth": config.blocks,
        "stereo": config.audio_channels == 2,
        "num_stems": config.outputs,
        "time_transformer_depth": config.time_layers,
        "freq_transformer_depth": config.band_layers,
        "linear_transformer_depth": 0,
        "freqs_per_bands": config.bands,
        "dim_head": config.head_width,
        "heads": config.heads,
        "attn_dropout": config.attention_dropout,
        "ff_dropout": config.dropout,
        "flash_attn": True,
        "dim_freqs_in": config.n_fft // 2 + 1,
        "stft_n_fft": config.n_fft,
        "stft_hop_length": config.hop,
        "stft_win_length": config.n_fft,
        "stft_normalized": False,
        "mask_estimator_depth": config.mask_layers,
        "multi_stft_resolution_loss_weight": 1.0,
        "multi_stft_resolutions_window_sizes": (4096, 2048, 1024, 512, 256),
        "multi_stft_hop_size": 147,
        "multi_stft_normalized": False,
    }


def oracle_of(config: BsRoformerConfig, **changes: object) -> nn.Module:
    """Return the package's model, in evaluation mode, its weights off their simple first values."""
    settings = community_settings(config) | changes
    del settings["linear_transformer_depth"]
    # Its fused path warns of a deprecation; it computes the same.
    settings["flash_attn"] = False
    torch.manual_seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle: nn.Module = BSRoformer(**settings)
    if config.dense_skips:
        _add_dense_skips(oracle)
    with torch.no_grad():
        for parameter in oracle.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return oracle.eval()


def oracle_answer(oracle: nn.Module, x_BCT: Tensor) -> Tensor:
    """Return the oracle's [B, S, C, T]; as the training repository does, with every sample."""
    whole: Callable[..., Tensor] = torch.istft
    try:
        torch.istft = partial(whole, length=x_BCT.shape[-1])
        y: Tensor = oracle(x_BCT)
    finally:
        torch.istft = whole
    return y if y.dim() == 4 else y.unsqueeze(1)


def _add_dense_skips(oracle: Any) -> None:
    """Add what the training repository's fork calls `skip_connection` and the package lacks."""
    outputs: list[Tensor] = []

    def take(_: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        (x_KND,) = inputs  # bands of one example as sequences of frames
        for earlier in outputs:
            x_KND = x_KND + earlier.transpose(0, 1)
        return x_KND

    def keep(_: nn.Module, __: object, y_NKD: Tensor) -> None:
        outputs.append(y_NKD)

    for over_frames, over_bands in oracle.layers:
        over_frames.register_forward_pre_hook(take)
        over_bands.register_forward_hook(keep)
    oracle.final_norm.register_forward_hook(lambda *_: outputs.clear())


def write_yaml(path: Path, settings: dict[str, Any], **sections: dict[str, Any]) -> Path:
    """Write a community YAML, with the Python tuples that a plain loader refuses."""
    content = {
        "audio": {"chunk_size": 352_800, "dim_f": 1024, "num_channels": 2, "sample_rate": 44_100},
        "model": settings,
        "training": {"instruments": ["vocals", "other"], "target_instrument": "vocals"},
        "inference": {"batch_size": 4, "num_overlap": 2},
    }
    for name, section in sections.items():
        content[name] = content[name] | section
    path.write_text(yaml.dump(content))
    return path

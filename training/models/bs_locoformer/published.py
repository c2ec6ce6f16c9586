"""The authors' published checkpoints: their names and layouts, mapped onto the fast model's.

Names and shapes are facts of the released weights of Saijo & Bando (2025). Per band the release has
a normalisation and 1x1 convolutions, here rows of stacked weights; its second feed-forward
convolution is a transposed one, here the valid one with the kernel reversed; its lists of two
feed-forward networks are in reverse order: number 1 comes before attention.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from storage.errors import CheckpointError
from training.models.bs_locoformer.bands import band_groups
from training.models.bs_locoformer.config import LARGE, MEDIUM, SMALL, BsLocoformerConfig
from training.models.foreign import Imported, after_prefix, read_plain

Weights = Mapping[str, Tensor]
Take = Callable[[str], Tensor]
Mapped = Iterator[tuple[str, Tensor]]

TANH = {(1, 2, 4): "second", (1, 3, 4): "first", (1, 3, 5): "both"}
"""Where a decoder has its tanh, by the indices of its three convolutions in their sequence."""

SPLIT = "band_split_module.band_split_module"
DECODE = "band_split_module.bandwise_decoding_module"
FIRST = f"{SPLIT}.0.0.weight"
"""A name that every checkpoint has, after whatever prefix its training framework gave."""


def read_published(path: Path) -> dict[str, Tensor]:
    """Read a published checkpoint's tensors, by their names in the model itself.

    A `.safetensors` file, or a PyTorch one, of which nothing but tensors is ever unpickled.

    Raises:
        CheckpointError: it is missing, unreadable, holds more than tensors, or no BS-Locoformer.
    """
    weights = after_prefix(_tensors(read_plain(path)), FIRST)
    if weights is None:
        raise CheckpointError(
            f"checkpoint {path} holds no weight '{FIRST}'; give a published BS-Locoformer"
        )
    return {name: it for name, it in weights.items() if not name.endswith(".window")}


def read_checkpoint(checkpoint: Path, settings: Path | None = None) -> Imported:
    """Return the model in a checkpoint that the paper's authors have published.

    Raises:
        CheckpointError: the checkpoint cannot be read, or is no BS-Locoformer of a published size.
    """
    published = read_published(checkpoint)
    config = published_config(published, checkpoint)
    return Imported(config, from_published(published, config, checkpoint))


def published_config(weights: Weights, source: Path) -> BsLocoformerConfig:
    """Return the config of one of the published sizes, as the shapes tell it.

    Raises:
        CheckpointError: the shapes are those of no published size.
    """
    blocks = 1 + max((int(n) for n in _numbers(weights, r"blocks\.(\d+)\.")), default=-1)
    convolutions = tuple(int(n) for n in _numbers(weights, rf"{DECODE}\.0\.([1-9])\.weight"))
    width = _shape(weights, f"{SPLIT}.0.1.weight")[0]
    last = _shape(weights, f"{DECODE}.0.{max(convolutions, default=0)}.weight")
    # The lowest band's rows: gate, real and imaginary part, two channels and two bins per output.
    outputs, odd = divmod(last[0], 16)
    expand = _shape(weights, "blocks.0.freq_path.ffn.0.conv1d.weight")
    for size in (SMALL, MEDIUM, LARGE):
        plain = (size.blocks, size.width, [2 * size.hidden, size.width, size.kernel])
        if plain == (blocks, width, expand) and convolutions in TANH and outputs and not odd:
            return size.model_copy(update={"outputs": outputs, "decoder_tanh": TANH[convolutions]})
    raise CheckpointError(
        f"checkpoint {source} has {blocks} blocks of width {width} with feed-forward weights "
        f"{expand} and decoder convolutions {list(convolutions)}: no published size; train it here"
    )


def from_published(weights: Weights, config: BsLocoformerConfig, source: Path) -> dict[str, Tensor]:
    """Return the fast model's weights; every tensor of the checkpoint is used, or refused.

    Raises:
        CheckpointError: a tensor is missing, has another shape than its band needs, or is unknown.
    """
    left = dict(weights)

    def take(name: str) -> Tensor:
        if name not in left:
            raise CheckpointError(f"checkpoint {source} lacks '{name}'; give an undamaged one")
        return left.pop(name)

    try:
        parts = (_encoder(take, config), _decoder(take, config), _blocks(take, config))
        mapped = {name: tensor.contiguous() for part in parts for name, tensor in part}
    except RuntimeError as error:
        raise CheckpointError(
            f"checkpoint {source} does not fit {config.outputs} outputs of width {config.width} "
            f"({error}); give an undamaged one"
        ) from error
    if left:
        raise CheckpointError(
            f"checkpoint {source} holds '{min(left)}' and {len(left) - 1} more that the model does "
            "not have; give a published BS-Locoformer"
        )
    return mapped


def _encoder(take: Take, config: BsLocoformerConfig) -> Mapped:
    for number, span in enumerate(_spans(config)):
        for part in ("weight", "bias"):
            norm = torch.stack([take(f"{SPLIT}.{band}.0.{part}") for band in span])
            yield f"encoder.norms.{number}.{part}", norm[:, None, None]
            linear = torch.stack([take(f"{SPLIT}.{band}.1.{part}") for band in span])
            yield f"encoder.maps.{number}.{part}", _rows(linear)


def _decoder(take: Take, config: BsLocoformerConfig) -> Mapped:
    first, second, last = next(at for at, tanh in TANH.items() if tanh == config.decoder_tanh)
    spans = _spans(config)
    for part in ("weight", "bias"):
        for name, layer in (("norm", 0), ("first", first), ("second", second)):
            stacked = torch.stack(
                [take(f"{DECODE}.{band}.{layer}.{part}") for span in spans for band in span]
            )
            yield f"decoder.{name}.{part}", stacked[:, None, None] if not layer else _rows(stacked)
        for number, span in enumerate(spans):
            stacked = torch.stack([take(f"{DECODE}.{band}.{last}.{part}") for band in span])
            # Rows are (gate, P, S, C, W) in the release, [gate, S, C, W, P] here.
            sizes = (len(span), 2, 2, config.outputs, config.audio_channels, -1)
            width = stacked.shape[1] // (4 * config.outputs * config.audio_channels)
            inputs = stacked.shape[2:3]
            rows = stacked.view(*sizes[:-1], width, *inputs).movedim(2, 5)
            yield f"decoder.last_{'weights' if inputs else 'biases'}.{number}", rows


def _spans(config: BsLocoformerConfig) -> list[range]:
    """Return the numbers of the bands of each group of equal width."""
    spans, begin = [], 0
    for bands, _ in band_groups(config.n_fft, config.sample_rate):
        spans.append(range(begin, begin + bands))
        begin += bands
    return spans


def _rows(stacked: Tensor) -> Tensor:
    """Drop the kernel axis of 1x1 convolutions; biases have none."""
    return stacked.squeeze(-1) if stacked.dim() > 2 else stacked


def _blocks(take: Take, config: BsLocoformerConfig) -> Mapped:
    """Map the separator: per block a frequency path, then a temporal one."""
    for block in range(config.blocks):
        # The kernel lies along the bands in frequency paths, along the frames in temporal ones.
        for number, (path, axis) in enumerate((("freq_path", -2), ("frame_path", -1))):
            ours, theirs = f"blocks.{block}.{number}", f"blocks.{block}.{path}"
            for step, network in ((0, 1), (2, 0)):
                yield f"{ours}.norms.{step}.gamma", take(f"{theirs}.ffn_norm.{network}.gamma")
                for name, value in _feed_forward(take, f"{theirs}.ffn.{network}", axis):
                    yield f"{ours}.steps.{step}.{name}", value
            yield f"{ours}.norms.1.gamma", take(f"{theirs}.attn_norm.gamma")
            yield f"{ours}.steps.1.qkv.weight", take(f"{theirs}.attn.qkv.weight")
            merge = take(f"{theirs}.attn.aggregate_heads.0.weight")
            yield f"{ours}.steps.1.merge.weight", merge


def _feed_forward(take: Take, name: str, axis: int) -> Mapped:
    yield "expand.weight", take(f"{name}.conv1d.weight").unsqueeze(axis)
    yield "expand.bias", take(f"{name}.conv1d.bias")
    deconvolution = take(f"{name}.deconv1d.weight").transpose(0, 1).flip(-1)
    yield "contract.weight", deconvolution.unsqueeze(axis)
    yield "contract.bias", take(f"{name}.deconv1d.bias")


def _tensors(content: object) -> dict[str, Tensor]:
    """Return the tensors of a state dict, or of one inside a task's checkpoint."""
    found: dict[str, Tensor] = {}
    for name, value in content.items() if isinstance(content, Mapping) else ():
        if isinstance(value, Tensor):
            found[str(name)] = value
        elif isinstance(value, Mapping):
            found.update(_tensors(value))
    return found


def _numbers(weights: Weights, pattern: str) -> list[str]:
    return sorted({match[1] for name in weights if (match := re.match(pattern, name))}, key=int)


def _shape(weights: Weights, name: str) -> list[int]:
    return list(weights[name].shape) if name in weights else [0]

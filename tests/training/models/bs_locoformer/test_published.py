"""Checkpoints in the form that the paper's authors publish, made from the plain transcription."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from storage.errors import CheckpointError
from tests.training.models.bs_locoformer.transcription import Transcription
from training.models.bs_locoformer.config import LARGE, MEDIUM, SMALL, BsLocoformerConfig
from training.models.bs_locoformer.published import from_published, published_config, read_published
from training.models.separator import build

HERE = Path("model.pth")
TINY = BsLocoformerConfig(
    outputs=3, blocks=2, width=16, hidden=12, kernel=4, heads=2, groups=4, dropout=0.0
)
TANH = ("second", "first", "both")
PREFIX = "model.model."


def config_with(tanh: str, base: BsLocoformerConfig = TINY) -> BsLocoformerConfig:
    return base.model_copy(update={"decoder_tanh": tanh})


def published_state(oracle: Transcription) -> dict[str, Tensor]:
    """Name the transcription's weights as the release does."""
    return {name: tensor.detach().contiguous() for name, tensor in _names(oracle)}


def _names(oracle: Transcription) -> Iterator[tuple[str, Tensor]]:
    parts: Any = zip(oracle.split, oracle.decode, strict=True)
    for band, (split, decode) in enumerate(parts):
        for name, tensor in split.named_parameters():
            yield f"band_split_module.band_split_module.{band}.{name}", tensor
        for name, tensor in decode.named_parameters():
            yield f"band_split_module.bandwise_decoding_module.{band}.{name}", tensor
    for number, path in enumerate(oracle.paths):
        module: Any = path
        root = f"blocks.{number // 2}.{('freq_path', 'frame_path')[number % 2]}"
        before, attention, after = module.steps
        for place, index, step in ((0, 1, before), (2, 0, after)):
            yield f"{root}.ffn_norm.{index}.gamma", module.norms[place].gamma
            for part in ("weight", "bias"):
                yield f"{root}.ffn.{index}.conv1d.{part}", getattr(step.conv, part)
                yield f"{root}.ffn.{index}.deconv1d.{part}", getattr(step.deconv, part)
        yield f"{root}.attn_norm.gamma", module.norms[1].gamma
        three = [attention.query.weight, attention.key.weight, attention.value.weight]
        yield f"{root}.attn.qkv.weight", torch.cat(three)
        yield f"{root}.attn.aggregate_heads.0.weight", attention.out.weight


def oracle_of(config: BsLocoformerConfig) -> Transcription:
    torch.manual_seed(3)
    oracle = Transcription(config)
    with torch.no_grad():
        for parameter in oracle.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return oracle


@pytest.mark.parametrize("tanh", TANH)
def test_published_weights_give_the_published_outputs(tanh: str) -> None:
    config = config_with(tanh)
    oracle = oracle_of(config)
    model = build(config)
    model.load_state_dict(from_published(published_state(oracle), config, HERE))
    x = torch.randn(2, 2, 7_001)
    ours, expected = model(x.unsqueeze(1)), oracle(x)
    assert float(((ours - expected).norm() / expected.norm()).detach()) <= 1e-5


@pytest.mark.parametrize(
    ("size", "outputs", "tanh"),
    [
        (SMALL, 4, "second"),
        (SMALL, 12, "both"),
        (MEDIUM, 12, "second"),
        (MEDIUM, 4, "first"),
        (LARGE, 12, "first"),
        (LARGE, 4, "both"),
    ],
)
def test_shapes_and_places_tell_size_outputs_and_decoder(
    size: BsLocoformerConfig, outputs: int, tanh: str
) -> None:
    config = config_with(tanh, size.model_copy(update={"outputs": outputs}))
    with torch.device("meta"):
        weights = published_state(Transcription(config))
        assert published_config(weights, HERE) == config
        mapped = from_published(weights, config, HERE)
        own = build(config).state_dict()
    assert {n: t.shape for n, t in mapped.items()} == {n: t.shape for n, t in own.items()}


@pytest.mark.parametrize("form", ["plain", "task", "safetensors"])
def test_a_file_is_read_whatever_holds_the_weights(tmp_path: Path, form: str) -> None:
    weights = published_state(oracle_of(TINY))
    named = {PREFIX + name: tensor for name, tensor in weights.items()}
    # Window buffers travel with the weights and say nothing.
    named |= {"stft.0.window": torch.ones(4), f"{PREFIX}istft.window": torch.ones(4)}
    path = tmp_path / ("model.safetensors" if form == "safetensors" else "model.pth")
    if form == "safetensors":
        save_file(named, path)
    else:
        torch.save({"epoch": 3, "state_dict": named} if form == "task" else named, path)
    read = read_published(path)
    assert read.keys() == weights.keys()
    assert all(torch.equal(read[name], weights[name]) for name in weights)


class Code:
    """What must never be loaded."""


def test_a_file_that_is_not_plain_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save({"state_dict": {}, "hyper_parameters": Code()}, path)
    with pytest.raises(CheckpointError, match="cannot be read as plain tensors"):
        read_published(path)
    torch.save({"weight": torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match="give a published BS-Locoformer"):
        read_published(path)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match="cannot be read as plain tensors"):
        read_published(path)
    with pytest.raises(CheckpointError, match="cannot be read as plain tensors"):
        read_published(tmp_path / "nowhere.safetensors")


def test_what_does_not_fit_is_named() -> None:
    weights = published_state(oracle_of(TINY))
    with pytest.raises(CheckpointError, match=r"2 blocks of width 16 .* no published size"):
        published_config(weights, HERE)
    with pytest.raises(CheckpointError, match="no published size"):
        published_config({}, HERE)
    with pytest.raises(CheckpointError, match="holds 'surplus' and 0 more"):
        from_published(weights | {"surplus": torch.ones(1)}, TINY, HERE)
    with pytest.raises(CheckpointError, match="does not fit 5 outputs"):
        from_published(weights, TINY.model_copy(update={"outputs": 5}), HERE)
    name = "blocks.1.frame_path.ffn.0.deconv1d.weight"
    del weights[name]
    with pytest.raises(CheckpointError, match=f"lacks '{name}'"):
        from_published(weights, TINY, HERE)

"""The community's BS-RoFormer checkpoints and the YAML beside them, as models of this project.

Keys and names are facts of the published form: a YAML with the parts `audio`, `model`, `training`
and `inference`, and a PyTorch or safetensors file of weights. Nothing else than tensors is ever
unpickled, and of YAML's Python tags none but the tuple's is known.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own
from torch import Tensor

from storage.errors import CheckpointError, ConfigError
from training.models.bs_roformer.config import BANDS, BsRoformerConfig
from training.models.bs_roformer.model import BsRoformer
from training.models.bs_roformer.transformer import Rotary
from training.models.foreign import Imported, after_prefix, read_plain

FIRST = "band_split.to_features.0.0.gamma"
"""A name that every checkpoint has, after whatever prefix its training framework gave."""

ROTARY = ".rotary_embed.freqs"
"""How the rotary frequencies' names end; they follow from the config."""

NESTS = ("state", "state_dict", "model_state_dict", "model")
"""Where training frameworks put weights, the likeliest first; else the first place they lie in."""

SETTINGS: Mapping[str, tuple[str, object]] = {
    "dim": ("width", None),
    "depth": ("blocks", None),
    "num_stems": ("outputs", 1),
    "time_transformer_depth": ("time_layers", 2),
    "freq_transformer_depth": ("band_layers", 2),
    "freqs_per_bands": ("bands", BANDS),
    "dim_head": ("head_width", 64),
    "heads": ("heads", 8),
    "attn_dropout": ("attention_dropout", 0.0),
    "ff_dropout": ("dropout", 0.0),
    "stft_n_fft": ("n_fft", 2048),
    "stft_hop_length": ("hop", 512),
    "mask_estimator_depth": ("mask_layers", 2),
    "mlp_expansion_factor": ("mask_expansion", 4),
    "skip_connection": ("dense_skips", False),
}
"""Model keys that are read: our name, and what a YAML without the key means (None: it needs it)."""

WITHOUT_EFFECT = {
    "dim_freqs_in",  # follows from the transform
    "stft_normalized",  # undone by the inverse, and by the norms of the band split
    "flash_attn",  # the same attention by another kernel
    "sage_attention",
    "use_torch_checkpoint",  # memory in training
    "multi_stft_resolution_loss_weight",  # the loss
    "multi_stft_resolutions_window_sizes",
    "multi_stft_hop_size",
    "multi_stft_normalized",
}
"""Model keys that change no output of a trained model."""

PLAIN_ONLY: Mapping[str, object] = {"linear_transformer_depth": 0, "zero_dc": False}
"""Model keys of variants that are not built here, and the value that means the plain form."""


class CommunityModel(NamedTuple):
    """What a checkpoint and its YAML say."""

    config: BsRoformerConfig
    weights: dict[str, Tensor]
    """By the names of `BsRoformer`, float32."""
    stems: tuple[str, ...]
    """Names of the outputs, in order; one where the model was trained for one target."""
    chunk_seconds: float
    hop_seconds: float
    """From the start of one chunk to the next."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # the package has no types
    """YAML's plain values, and tuples under the tag that the training framework writes."""


def _tuple(loader: Any, node: Any) -> tuple[object, ...]:
    return tuple(loader.construct_sequence(node))


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _tuple)


def read_community(checkpoint: Path, settings: Path) -> CommunityModel:
    """Return the model in a community checkpoint, as its YAML describes it.

    Args:
        checkpoint: `.ckpt`, `.th`, `.pt`, `.pth` or `.safetensors`; half precision is widened.
        settings: the YAML that was published beside it.

    Raises:
        ConfigError: the YAML cannot be read, lacks a key, or describes another kind of model.
        CheckpointError: the checkpoint cannot be read as plain tensors, or is not of that model.
    """
    parts = read_settings(settings)
    config = _config(parts, settings)
    chunk, hop = _chunk(parts, config.sample_rate, settings)
    stems = _stems(parts, config.outputs, settings)
    weights = fitted(read_weights(checkpoint), config, checkpoint)
    return CommunityModel(config, weights, stems, chunk, hop)


def read_checkpoint(checkpoint: Path, settings: Path | None) -> Imported:
    """Return the model in a community checkpoint, for our own use.

    Raises:
        ConfigError: the YAML is not named, cannot be read, or describes another kind of model.
        CheckpointError: the checkpoint cannot be read as plain tensors, or is not of that model.
    """
    if settings is None:
        raise ConfigError(
            f"checkpoint {checkpoint} of the community form needs the YAML that was published "
            "beside it; name it with --settings FILE.yaml"
        )
    return Imported(*read_community(checkpoint, settings))


def read_settings(path: Path) -> dict[str, dict[str, Any]]:
    """Read a community YAML: its parts by name.

    Raises:
        ConfigError: it is missing, is no YAML of plain values and tuples, or lacks a part.
    """
    try:
        # A subclass of the safe loader: it makes plain values and tuples, and runs nothing.
        content = yaml.load(path.read_text("utf-8"), _Loader)
    except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
        reason = getattr(error, "problem", None) or error
        raise ConfigError(
            f"settings {path} cannot be read as YAML of plain values and tuples ({reason}); give "
            "the file that was published beside the checkpoint"
        ) from error
    parts = content if isinstance(content, dict) else {}
    for name in ("audio", "model", "training"):
        if not isinstance(parts.get(name), dict):
            raise ConfigError(
                f"settings {path} have no part '{name}'; give the file that was published beside "
                "the checkpoint"
            )
    inference = parts.get("inference")
    return {**parts, "inference": inference if isinstance(inference, dict) else {}}


def _config(parts: Mapping[str, Mapping[str, Any]], path: Path) -> BsRoformerConfig:
    model = dict(parts["model"])
    stereo = model.pop("stereo", False)
    channels = parts["audio"].get("num_channels", 2 if stereo is True else 1)
    if not isinstance(stereo, bool) or channels != (2 if stereo else 1):
        raise ConfigError(
            f"settings {path}: model.stereo = {stereo!r} and audio.num_channels = {channels!r} "
            "disagree; stereo models have two channels, others one"
        )
    _refuse_variants(model, path)
    values = {"audio_channels": channels} | {
        ours: model.get(key, default) for key, (ours, default) in SETTINGS.items()
    }
    if "sample_rate" in parts["audio"]:
        values["sample_rate"] = parts["audio"]["sample_rate"]
    try:
        return BsRoformerConfig.parse(values, "setting")
    except ConfigError as error:
        raise ConfigError(
            f"settings {path} describe no BS-RoFormer: {error}; give the file that was published "
            "beside the checkpoint"
        ) from error


def _refuse_variants(model: Mapping[str, Any], path: Path) -> None:
    """Refuse model keys that are unknown, or that ask for a form that is not built."""
    plain = {**PLAIN_ONLY, "stft_win_length": model.get("stft_n_fft", SETTINGS["stft_n_fft"][1])}
    for key, value in model.items():
        if key in plain and value != plain[key]:
            raise ConfigError(
                f"settings {path}: model.{key} = {value!r} makes a variant that is not built "
                f"here; only {plain[key]!r} is"
            )
        if not (key in plain or key in SETTINGS or key in WITHOUT_EFFECT):
            raise ConfigError(
                f"settings {path}: model.{key} = {value!r} is no setting of a plain BS-RoFormer; "
                "give a checkpoint of that kind"
            )
    for key, (_, default) in SETTINGS.items():
        if default is None and key not in model:
            raise ConfigError(
                f"settings {path} lack model.{key}; give the file that was published beside the "
                "checkpoint"
            )


def _chunk(
    parts: Mapping[str, Mapping[str, Any]], sample_rate: int, path: Path
) -> tuple[float, float]:
    """Return length and hop in seconds of the chunks that a song is separated in."""
    inference = parts["inference"]
    samples = inference.get("chunk_size", parts["audio"].get("chunk_size"))
    overlap = inference.get("num_overlap", 2)
    for key, value in (("audio.chunk_size", samples), ("inference.num_overlap", overlap)):
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"settings {path}: {key} = {value!r} is no count; set 1 or more")
    return samples / sample_rate, samples / overlap / sample_rate


def _stems(parts: Mapping[str, Mapping[str, Any]], outputs: int, path: Path) -> tuple[str, ...]:
    """Return the names of the outputs."""
    target = parts["training"].get("target_instrument")
    names = [target] if target else parts["training"].get("instruments")
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f"settings {path}: training.instruments = {names!r} is no list of stems; list the "
            "names of the model's outputs"
        )
    if len(names) != outputs:
        raise ConfigError(
            f"settings {path}: model.num_stems = {outputs} outputs but {len(names)} named "
            f"({', '.join(names)}); name each in training.instruments, or the only one in "
            "training.target_instrument"
        )
    return tuple(names)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a checkpoint's tensors by their names in the model itself, whatever holds them.

    Raises:
        CheckpointError: it is missing, unreadable, holds more than tensors, or no BS-RoFormer.
    """
    for named in _state_dicts(read_plain(path)):
        weights = after_prefix(named, FIRST)
        if weights is not None:
            return weights
    raise CheckpointError(
        f"checkpoint {path} holds no weight '{FIRST}'; give a BS-RoFormer of the community's form"
    )


def _state_dicts(content: object) -> Iterator[dict[str, Tensor]]:
    """Yield the tensors of each mapping in a checkpoint, the likeliest place first."""
    if not isinstance(content, Mapping):
        return
    yield {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    likeliest = [name for name in NESTS if name in content]
    for name in (*likeliest, *(name for name in content if name not in likeliest)):
        yield from _state_dicts(content[name])


def fitted(
    weights: Mapping[str, Tensor], config: BsRoformerConfig, source: Path
) -> dict[str, Tensor]:
    """Return weights as the model takes them: exactly its tensors, float32.

    Rotary frequencies, which follow from the config, may be absent.

    Raises:
        CheckpointError: a tensor is missing, unknown, of another shape, or not finite.
    """
    remedy = "give an undamaged one, with the YAML that was published beside it"
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in BsRoformer(config).state_dict().items()}
    if surplus := sorted(weights.keys() - shapes.keys()):
        raise CheckpointError(
            f"checkpoint {source} holds '{surplus[0]}' and {len(surplus) - 1} more that the model "
            f"does not have; {remedy}"
        )
    rotary = {name: Rotary(config.head_width).freqs for name in shapes if name.endswith(ROTARY)}
    given = rotary | dict(weights)
    for name, shape in sorted(shapes.items()):
        if name not in given:
            raise CheckpointError(f"checkpoint {source} lacks '{name}'; {remedy}")
        if given[name].shape != shape:
            raise CheckpointError(
                f"checkpoint {source}: '{name}' is {list(given[name].shape)} and not "
                f"{list(shape)}; {remedy}"
            )
        if not bool(given[name].isfinite().all()):
            raise CheckpointError(f"checkpoint {source}: '{name}' holds NaN or infinity; {remedy}")
    plain = torch.contiguous_format
    # Copies: in the community's files all rotary frequencies share their memory.
    return {name: given[name].to(torch.float32, copy=True, memory_format=plain) for name in shapes}

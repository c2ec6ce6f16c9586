"""Checkpoints written by the community's own package, read back; and damaged ones refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from storage.errors import CheckpointError, ConfigError
from tests.training.models.bs_roformer.community_form import (
    community_settings,
    oracle_answer,
    oracle_of,
    write_yaml,
)
from training.models.bs_roformer.community import CommunityModel, read_community
from training.models.bs_roformer.config import MICRO, BsRoformerConfig
from training.models.bs_roformer.model import BsRoformer

VOCALS = MICRO.model_copy(update={"outputs": 1, "mask_expansion": 4, "blocks": 1})
GAMMA = "band_split.to_features.0.0.gamma"
Write = Callable[[dict[str, Tensor], Path], None]

FORMS: dict[str, Write] = {
    "plain.ckpt": torch.save,
    "state.th": lambda weights, path: torch.save({"epoch": 3, "state": weights}, path),
    "task.pt": lambda weights, path: torch.save(
        {
            # An optimiser's tensors, and an average's, are no weights to mix with these.
            "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []},
            "ema": {f"model.{name}": torch.zeros(1) for name in weights},
            "state_dict": {f"model.{name}": value for name, value in weights.items()},
        },
        path,
    ),
    "bare.safetensors": lambda weights, path: save_file(
        {name: value.clone() for name, value in weights.items()}, path
    ),
}


def settings_of(path: Path, config: BsRoformerConfig = VOCALS, **model: object) -> Path:
    return write_yaml(path / "model.yaml", community_settings(config) | model)


def read(path: Path, weights: dict[str, Tensor], settings: Path) -> CommunityModel:
    checkpoint = path / "model.ckpt"
    torch.save(weights, checkpoint)
    return read_community(checkpoint, settings)


@pytest.mark.parametrize("form", FORMS)
def test_a_checkpoint_comes_back_as_its_package_plays_it(tmp_path: Path, form: str) -> None:
    oracle = oracle_of(VOCALS)
    FORMS[form](oracle.state_dict(), tmp_path / form)
    found = read_community(tmp_path / form, settings_of(tmp_path))
    assert found.config == VOCALS
    assert found.stems == ("vocals",)
    assert (found.chunk_seconds, found.hop_seconds) == (8.0, 4.0)
    model = BsRoformer(found.config).eval()
    model.load_state_dict(found.weights)
    save_file(found.weights, tmp_path / "own.safetensors")  # refuses tensors that share memory
    x = 0.3 * torch.randn(2, 2, 3_001)
    with torch.no_grad():
        torch.testing.assert_close(
            model(x.unsqueeze(1)), oracle_answer(oracle, x), rtol=1e-4, atol=1e-6
        )


def test_half_precision_is_widened_and_frequencies_may_lack(tmp_path: Path) -> None:
    weights = oracle_of(VOCALS).state_dict()
    half = {name: value.half() for name, value in weights.items() if "freqs" not in name}
    # "to_freqs" names mask networks; only the rotary frequencies are left out.
    half |= {name: value.half() for name, value in weights.items() if "to_freqs" in name}
    found = read(tmp_path, half, settings_of(tmp_path))
    assert {value.dtype for value in found.weights.values()} == {torch.float32}
    for name, value in weights.items():
        torch.testing.assert_close(found.weights[name], value, rtol=1e-3, atol=1e-4)


def test_several_stems_and_plain_lists(tmp_path: Path) -> None:
    config = VOCALS.model_copy(update={"outputs": 2, "dense_skips": True, "mask_expansion": 2})
    settings = community_settings(config) | {
        "mlp_expansion_factor": 2,
        "skip_connection": True,
        "sage_attention": True,
        "use_torch_checkpoint": False,
        "freqs_per_bands": list(config.bands),
    }
    training = {"target_instrument": None, "instruments": ["drums", "rest"]}
    inference = {"chunk_size": 44_100, "num_overlap": 4}
    path = write_yaml(tmp_path / "m.yaml", settings, training=training, inference=inference)
    found = read(tmp_path, BsRoformer(config).state_dict(), path)
    assert found.config == config
    assert found.stems == ("drums", "rest")
    assert (found.chunk_seconds, found.hop_seconds) == (1.0, 0.25)


def test_what_a_yaml_leaves_out_is_what_the_package_does(tmp_path: Path) -> None:
    bare = {"dim": 16, "depth": 1}
    audio = {"num_channels": 1}
    found = read(
        tmp_path,
        oracle_of(
            BsRoformerConfig(
                outputs=1,
                audio_channels=1,
                hop=512,
                width=16,
                blocks=1,
                time_layers=2,
                band_layers=2,
                head_width=64,
            )
        ).state_dict(),
        write_yaml(tmp_path / "bare.yaml", bare, audio=audio),
    )
    assert (found.config.hop, found.config.time_layers, found.config.dropout) == (512, 2, 0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_bands": 60}, r"model.num_bands = 60 is no setting of a plain BS-RoFormer"),
        ({"num_residual_streams": 4}, "model.num_residual_streams = 4"),
        ({"linear_transformer_depth": 1}, "linear_transformer_depth = 1 makes a variant .* only 0"),
        ({"stft_win_length": 128}, "stft_win_length = 128 makes a variant .* only 256 is"),
        ({"stereo": False}, "model.stereo = False and audio.num_channels = 2 disagree"),
        ({"stereo": "yes"}, "model.stereo = 'yes'"),
        ({"dim": "wide"}, "'width' = 'wide'"),
        ({"freqs_per_bands": (2, 2)}, "bands cover 4 bins; n_fft 256 has 129"),
        ({"num_stems": 4}, r"model.num_stems = 4 outputs but 1 named \(vocals\)"),
    ],
)
def test_settings_that_do_not_fit_are_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    settings = settings_of(tmp_path, **changes)
    with pytest.raises(ConfigError, match=message) as caught:
        read_community(tmp_path / "nowhere.ckpt", settings)
    assert str(settings) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("model: !!python/tuple {a: 1}", "expected a sequence node"),
        ("model: [", "cannot be read as YAML"),
        ("- 1", "have no part 'audio'"),
        ("audio: {}\nmodel: 3\ntraining: {}", "have no part 'model'"),
        ("audio: {}\nmodel: {dim: 8}\ntraining: {}", "lack model.depth"),
    ],
)
def test_yaml_is_plain_values_or_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_community(tmp_path / "nowhere.ckpt", path)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("audio", {"chunk_size": None}, "audio.chunk_size = None is no count"),
        ("inference", {"num_overlap": 0}, "inference.num_overlap = 0 is no count"),
        (
            "training",
            {"target_instrument": None, "instruments": "vocals"},
            "instruments = 'vocals' is no list",
        ),
    ],
)
def test_other_parts_are_checked(
    tmp_path: Path, part: str, changes: dict[str, Any], message: str
) -> None:
    path = write_yaml(tmp_path / "m.yaml", community_settings(VOCALS), **{part: changes})
    with pytest.raises(ConfigError, match=message):
        read_community(tmp_path / "nowhere.ckpt", path)
    with pytest.raises(ConfigError, match=r"nowhere.yaml cannot be read"):
        read_community(tmp_path / "nowhere.ckpt", tmp_path / "nowhere.yaml")


class Code:
    """What must never be loaded."""


def test_a_file_that_is_not_plain_weights_is_refused(tmp_path: Path) -> None:
    settings, path = settings_of(tmp_path), tmp_path / "model.ckpt"
    torch.save({"state_dict": {}, "hyper_parameters": Code()}, path)
    with pytest.raises(CheckpointError, match="cannot be read as plain tensors"):
        read_community(path, settings)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match="cannot be read as plain tensors"):
        read_community(path, settings)
    with pytest.raises(CheckpointError, match="cannot be read as plain tensors"):
        read_community(tmp_path / "nowhere.safetensors", settings)
    torch.save({"weight": torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match=f"holds no weight '{GAMMA}'"):
        read_community(path, settings)


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    weights = BsRoformer(VOCALS).state_dict()
    with pytest.raises(CheckpointError, match="holds 'surplus' and 0 more"):
        read(tmp_path, weights | {"surplus": torch.ones(1)}, settings)
    with pytest.raises(CheckpointError, match=rf"'{GAMMA}' is \[3\] and not \[8\]"):
        read(tmp_path, weights | {GAMMA: torch.ones(3)}, settings)
    with pytest.raises(CheckpointError, match=f"'{GAMMA}' holds NaN or infinity"):
        read(tmp_path, weights | {GAMMA: torch.full((8,), torch.nan)}, settings)
    del weights["final_norm.gamma"]
    with pytest.raises(CheckpointError, match=r"lacks 'final_norm.gamma'"):
        read(tmp_path, weights, settings)

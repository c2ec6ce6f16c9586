"""Others' checkpoints become models here: imported, loaded, separated as their own package does."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from storage.audio.waveforms import read_window
from storage.errors import CheckpointError, ConfigError
from storage.records import STEMS
from tests.synthesised import write_audio
from tests.training.models.bs_locoformer.test_published import oracle_of as published_oracle
from tests.training.models.bs_locoformer.test_published import published_state
from tests.training.models.bs_roformer.community_form import (
    community_settings,
    oracle_answer,
    oracle_of,
    write_yaml,
)
from training.__main__ import main
from training.checkpoints.weights import load_model
from training.config import SeparateConfig
from training.inference.overlap_add import separate
from training.jobs.import_checkpoint import import_checkpoint
from training.model_folder import read_explanation, stems_of
from training.models.bs_locoformer.config import SMALL
from training.models.bs_roformer.config import MICRO

RATE = 44_100
CHUNK, HOP = 11_025, 3_675
"""Samples: a quarter of a second, and a third of that."""
COMMUNITY = MICRO.model_copy(update={"outputs": 2, "mask_expansion": 4, "blocks": 1})


@pytest.fixture
def community(tmp_path: Path) -> tuple[nn.Module, Path, Path]:
    """A checkpoint of the community's own package: the model, its file, and its YAML."""
    oracle = oracle_of(COMMUNITY)
    torch.save({"state_dict": oracle.state_dict()}, tmp_path / "vocals.ckpt")
    settings = write_yaml(
        tmp_path / "vocals.yaml",
        community_settings(COMMUNITY),
        audio={"chunk_size": CHUNK},
        training={"target_instrument": None, "instruments": ["vocals", "other"]},
        inference={"num_overlap": CHUNK // HOP},
    )
    return oracle, tmp_path / "vocals.ckpt", settings


def overlapped(oracle: nn.Module, song_CT: Tensor) -> Tensor:
    """Return the package's own answers [S, C, T], chunk by chunk, averaged where they overlap.

    The song's last chunk ends with it, and counts from the regular start on.
    """
    length = song_CT.shape[-1]
    total, count = torch.zeros(2, *song_CT.shape, dtype=torch.float64), torch.zeros(length)
    # The level that a song is brought to is a power of two; the network is not linear.
    level = 2 ** song_CT.double().square().mean(-1, keepdim=True).sqrt().log2().round()
    regular = list(range(0, length - CHUNK + 1, HOP))
    spans = [(start, start) for start in regular]
    if regular[-1] + CHUNK < length:
        spans.append((length - CHUNK, regular[-1] + HOP))
    for start, used in spans:
        chunk = song_CT[:, start : start + CHUNK] / level
        answer = oracle_answer(oracle, chunk[None].float())[0].double() * level
        total[..., used : start + CHUNK] += answer[..., used - start :]
        count[used : start + CHUNK] += 1
    return (total / count).float()


def song() -> Tensor:
    return 0.2 * torch.randn(2, 30_000, generator=torch.Generator().manual_seed(2))


def test_a_community_checkpoint_separates_as_its_package_does(
    community: tuple[nn.Module, Path, Path], tmp_path: Path
) -> None:
    oracle, checkpoint, settings = community
    found = import_checkpoint(checkpoint, tmp_path / "model", settings)
    assert found.stems == ("vocals", "other")
    model = load_model(tmp_path / "model")
    assert model.config == COMMUNITY
    assert not model.training
    assert (model.chunk_seconds, model.hop_seconds) == (CHUNK / RATE, HOP / RATE)
    assert stems_of(tmp_path / "model") == ("vocals", "other")
    assert read_explanation(tmp_path / "model")["imported_from"]["name"] == "vocals.ckpt"
    with torch.no_grad():
        expected = overlapped(oracle, song())
    ours = separate(model, song(), SeparateConfig())
    assert float((ours - expected).norm() / expected.norm()) <= 1e-5
    # What is said in so many words counts before what the model was made for.
    other = separate(model, song(), SeparateConfig(chunk_seconds=0.2))
    assert not torch.allclose(other, expected, atol=1e-3)


def test_the_command_imports_and_separates_under_the_models_names(
    community: tuple[nn.Module, Path, Path], tmp_path: Path
) -> None:
    oracle, checkpoint, settings = community
    folder = tmp_path / "model"
    assert main(["import", str(checkpoint), str(folder), "--settings", str(settings)]) == 0
    write_audio(tmp_path / "song.wav", song().numpy(), RATE, "FLOAT")
    assert main(["separate", str(folder), str(tmp_path / "out"), str(tmp_path / "song.wav")]) == 0
    files = sorted((tmp_path / "out" / "song").iterdir())
    assert [path.name for path in files] == ["other.wav", "vocals.wav"]
    with torch.no_grad():
        expected = overlapped(oracle, song()).numpy()
    for number, stem in enumerate(("vocals", "other")):
        found = read_window(tmp_path / "out" / "song" / f"{stem}.wav")
        np.testing.assert_allclose(found, expected[number], rtol=0, atol=1e-5)


def test_published_weights_become_a_model(tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"outputs": 4, "decoder_tanh": "first"})
    oracle = published_oracle(config)
    weights = {f"model.model.{name}": value for name, value in published_state(oracle).items()}
    torch.save(weights, tmp_path / "m")
    import_checkpoint(tmp_path / "m", tmp_path / "model")
    model = load_model(tmp_path / "model")
    assert model.config == config
    explanation = read_explanation(tmp_path / "model")
    assert explanation["imported_from"]["name"] == "m"
    assert not {"stems", "chunk_seconds", "hop_seconds"} & explanation.keys()
    assert stems_of(tmp_path / "model") == STEMS
    x = torch.randn(1, 2, 5_000)
    with torch.no_grad():
        expected = oracle(x)
        assert (model(x.unsqueeze(1)) - expected).norm() <= 1e-5 * expected.norm()


def test_another_form_is_named(community: tuple[nn.Module, Path, Path], tmp_path: Path) -> None:
    _, checkpoint, settings = community
    folder = tmp_path / "model"
    with pytest.raises(ConfigError, match=r"unknown form 'umx'.* published, community"):
        import_checkpoint(checkpoint, folder, form="umx")
    with pytest.raises(ConfigError, match=r"needs the YAML .* --settings FILE\.yaml"):
        import_checkpoint(checkpoint, folder, form="community")
    with pytest.raises(CheckpointError, match="give a published BS-Locoformer"):
        import_checkpoint(checkpoint, folder)
    torch.save({"weight": torch.ones(2)}, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="give a BS-RoFormer of the community's form"):
        import_checkpoint(tmp_path / "other.ckpt", folder, settings)
    assert not folder.exists(), "nothing is written of what is refused"

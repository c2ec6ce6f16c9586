from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from storage.errors import CheckpointError
from storage.files import read_json, write_json
from tests.training.models.bs_locoformer.test_published import oracle_of, published_state
from training.config import TrainConfig
from training.engine.weights import (
    average,
    import_published,
    load_model,
    read_explanation,
    save_model,
)
from training.models.separator import build
from training.models.bs_locoformer.config import SMALL


@pytest.fixture
def folder(tmp_path: Path, mixit: TrainConfig) -> Path:
    torch.manual_seed(0)
    weights = build(mixit.model).state_dict()
    save_model(tmp_path / "model", weights, {"model": mixit.model.model_dump(mode="json")})
    return tmp_path / "model"


def test_round_trip_with_the_same_bytes(folder: Path) -> None:
    model = load_model(folder)
    assert not model.training
    before = (folder / "model.safetensors").read_bytes()
    save_model(folder, model.state_dict(), {"model": model.config.model_dump(mode="json")})
    assert (folder / "model.safetensors").read_bytes() == before


def alter(folder: Path, **tensors: torch.Tensor | None) -> None:
    """Change the weights and keep their explanation true."""
    weights = load_file(folder / "model.safetensors")
    for key, tensor in tensors.items():
        name = key.replace("__", ".")
        if tensor is None:
            del weights[name]
        else:
            weights[name] = tensor
    save_file(weights, folder / "model.safetensors")
    note = read_json(folder / "model.json")
    note.pop("sha256", None)
    write_json(folder / "model.json", note)


def test_every_defect_has_its_sentence(folder: Path, tmp_path: Path) -> None:
    name = next(iter(load_file(folder / "model.safetensors")))
    key = name.replace(".", "__")
    good = load_file(folder / "model.safetensors")[name]
    with pytest.raises(CheckpointError, match=r"no model at .*nowhere; give the folder"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"holds no model: .*model\.json is missing"):
        (tmp_path / "empty").mkdir()
        load_model(tmp_path / "empty")
    alter(folder, **{key: torch.zeros(3)})
    with pytest.raises(CheckpointError, match=r"do not fit the model: '.*' is \[3\] and not"):
        load_model(folder)
    alter(folder, **{key: torch.full_like(good, torch.nan)})
    with pytest.raises(CheckpointError, match=r"hold NaN or infinity in '.*lower optim.lr"):
        load_model(folder)
    alter(folder, **{key: None})
    with pytest.raises(CheckpointError, match="is missing; use the recipe"):
        load_model(folder)


def test_garbage_and_damage(folder: Path) -> None:
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="damaged: their sha256 has changed"):
        load_model(folder)
    note = read_json(folder / "model.json")
    del note["sha256"]
    write_json(folder / "model.json", note)
    weights.write_bytes(b"no weights at all")
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read"):
        load_model(folder)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors are missing"):
        load_model(folder)
    for broken in ("{", "[]", '{"model": {"kind": "unet"}}', "{}"):
        (folder / "model.json").write_text(broken)
        with pytest.raises(CheckpointError, match=r"model\.json"):
            load_model(folder)


def test_average() -> None:
    mean = average([{"w": torch.tensor([v]), "n": torch.tensor([3])} for v in (1.0, 2.0, 6.0)])
    assert mean["w"].item() == 3
    assert mean["w"].dtype == torch.float32
    assert mean["n"].item() == 3


def test_published_weights_become_a_model(tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"outputs": 4, "decoder_tanh": "first"})
    oracle = oracle_of(config)
    torch.save({f"model.model.{n}": t for n, t in published_state(oracle).items()}, tmp_path / "m")
    import_published(tmp_path / "m", tmp_path / "model")
    model = load_model(tmp_path / "model")
    assert model.config == config
    assert read_explanation(tmp_path / "model")["imported_from"]["name"] == "m"
    x = torch.randn(1, 2, 5_000)
    with torch.no_grad():
        expected = oracle(x)
        assert (model(x.unsqueeze(1)) - expected).norm() <= 1e-5 * expected.norm()

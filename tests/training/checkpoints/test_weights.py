from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from storage.errors import CheckpointError
from storage.files import read_json, write_json
from storage.records import STEMS
from training.checkpoints.weights import (
    average,
    load_model,
    save_model,
)
from training.config import TrainConfig
from training.model_folder import stems_of
from training.models.separator import build


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


class Normalised(nn.Module):
    """Parameters, and buffers of either type, as a batch norm has them."""

    def __init__(self, value: float, batches: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((2,), value))
        self.register_buffer("running_mean", torch.full((2,), 10 * value))
        self.register_buffer("batches", torch.tensor(batches))


def test_parameters_are_averaged_and_buffers_are_the_bests() -> None:
    models = [Normalised(1.0, 5), Normalised(2.0, 7), Normalised(6.0, 9)]
    parameters = {name for name, _ in models[0].named_parameters()}
    mean = average([model.state_dict() for model in models], parameters)
    assert mean["scale"].tolist() == [3, 3]
    assert mean["scale"].dtype == torch.float32
    assert mean["running_mean"].tolist() == [10, 10]
    assert mean["batches"].item() == 5


def test_means_are_taken_in_double_precision() -> None:
    values = [torch.tensor([2.0**24]), torch.tensor([1.0]), torch.tensor([1.0])]
    mean = average([{"w": value} for value in values], {"w"})["w"]
    assert mean.item() == torch.tensor((2.0**24 + 2) / 3).item()


def test_a_models_own_chunks_travel_with_it(folder: Path) -> None:
    model = load_model(folder)
    assert (model.chunk_seconds, model.hop_seconds) == (12.0, 6.0)
    note = read_json(folder / "model.json")
    for told, expected in (
        ({"chunk_seconds": 8.0}, (8.0, 4.0)),
        ({"chunk_seconds": 8.0, "hop_seconds": 2.0}, (8.0, 2.0)),
    ):
        write_json(folder / "model.json", {**note, **told})
        model = load_model(folder)
        assert (model.chunk_seconds, model.hop_seconds) == expected


def test_outputs_have_names_where_somebody_named_them(folder: Path) -> None:
    note = read_json(folder / "model.json")
    supervised = {"objective": {"kind": "supervised"}}
    two = {**note["model"], "outputs": 2}
    for told, expected in (
        ({}, ()),
        ({"stems": ["vocals", "rest"]}, ("vocals", "rest")),
        ({"recipe": supervised}, STEMS),
        ({"recipe": supervised, "model": two}, ()),
        ({"imported_from": {"name": "finetuned.pth"}}, STEMS),
        ({"imported_from": {"name": "pretrained.pth"}, "model": {"outputs": 12}}, ()),
    ):
        write_json(folder / "model.json", {**note, **told})
        assert stems_of(folder) == expected

"""A model from outside is checked and copied into the home; there it is found afterwards."""

import shutil
from pathlib import Path

import pytest

from flows.stages.given_model import CHECK_MODEL, GivenModel, find_given
from flows.stages.stage import Site, perform
from storage.errors import CheckpointError, ConfigError
from storage.files import hash_file, read_json, write_json
from storage.home.layout import Home
from storage.home.marks import Mark
from storage.stores.base import FolderStore
from tests.flows.stages.test_stage import Silent
from training.models.bs_roformer.config import MICRO

SETTING = "model"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder. Weights are bytes to whoever only copies and compares them."""
    folder = tmp_path / "given"
    write_weights(folder, b"weights")
    return folder


def write_weights(folder: Path, weights: bytes) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_bytes(weights)
    explanation = {
        "model": MICRO.model_dump(mode="json"),
        "stems": ["a", "b", "c", "d"],
        "imported_from": {"name": "x.ckpt"},
        "sha256": hash_file(folder / "model.safetensors"),
    }
    write_json(folder / "model.json", explanation)


def machine(tmp_path: Path, name: str) -> Home:
    """Return a machine's view of a home that is kept elsewhere."""
    return Home(tmp_path / name, FolderStore(tmp_path / "bucket"))


def check(home: Home, given: GivenModel) -> Mark:
    site = Site(home, CHECK_MODEL.work(given.config, {}).key, Silent(), given.places)
    return perform(site, CHECK_MODEL, given.config, {}).mark


def test_the_home_has_a_copy(tmp_path: Path, folder: Path) -> None:
    home = Home(tmp_path / "home")
    given = find_given(home, SETTING, str(folder))
    assert (given.settings, given.stems) == (MICRO, ("a", "b", "c", "d"))
    mark = check(home, given)
    for name in ("model.json", "model.safetensors"):
        copy = mark.path(home, f"model/{name}")
        assert copy.read_bytes() == (folder / name).read_bytes()
        assert home.holds(copy)
    assert mark.facts == {
        "kind": "bs_roformer",
        "outputs": 4,
        "stems": ["a", "b", "c", "d"],
        "imported_from": "x.ckpt",
        "folder": str(folder),
    }


def test_what_it_was_trained_on_comes_with_it_and_decides_nothing(
    tmp_path: Path, folder: Path
) -> None:
    plain = check(Home(tmp_path / "plain"), find_given(Home(tmp_path), SETTING, str(folder)))
    (folder / "ATTRIBUTION.csv").write_text("whose music\n")
    home = machine(tmp_path, "first")
    mark = check(home, find_given(home, SETTING, str(folder)))
    assert (mark.digest, mark.key) == (plain.digest, plain.key)
    folder.rename(tmp_path / "moved")
    other = find_given(machine(tmp_path, "second"), SETTING, str(folder))
    assert (other.folder / "ATTRIBUTION.csv").read_text() == "whose music\n"


def test_another_machine_finds_it_in_the_bucket(tmp_path: Path, folder: Path) -> None:
    first, second = machine(tmp_path, "first"), machine(tmp_path, "second")
    given = find_given(first, SETTING, str(folder))
    mark = check(first, given)
    shutil.rmtree(folder)
    found = find_given(second, SETTING, str(folder))
    assert found._replace(folder=given.folder) == given
    assert not (found.folder / "model.safetensors").exists(), "a plan downloads no weights"
    assert check(second, found) == mark
    assert mark.path(second, "model/model.safetensors").read_bytes() == b"weights"


def test_the_model_that_was_last_at_a_path_is_found(tmp_path: Path, folder: Path) -> None:
    home = Home(tmp_path / "home")
    keys = []
    for weights in (b"old", b"new"):
        write_weights(folder, weights)
        keys.append(check(home, find_given(home, SETTING, str(folder))).key)
    marks = [home.mark(CHECK_MODEL.name, key) for key in keys]
    for path, finished in zip(marks, ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"), strict=True):
        write_json(path, {**read_json(path), "finished": finished})
    new = read_json(folder / "model.json")["sha256"]
    shutil.rmtree(folder)
    found = find_given(home, SETTING, str(folder))
    assert read_json(found.folder / "model.json")["sha256"] == new
    with pytest.raises(ConfigError, match=r"model = .*elsewhere holds no model\.json"):
        find_given(home, SETTING, str(tmp_path / "elsewhere"))


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_a_damaged_file_is_named_and_not_kept(tmp_path: Path, folder: Path, name: str) -> None:
    home = Home(tmp_path / "home")
    given = find_given(home, SETTING, str(folder))
    with (folder / name).open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(CheckpointError, match=rf"given/{name} is damaged or was changed"):
        check(home, given)
    assert not list(home.root.glob(f"models/*/{name}"))


def test_a_lost_file_is_named(tmp_path: Path, folder: Path) -> None:
    given = find_given(Home(tmp_path / "home"), SETTING, str(folder))
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"given/model\.safetensors is missing; put it back"):
        check(Home(tmp_path / "home"), given)

"""What a run begins with: all of another run's weights, parts of them, or none."""

import logging
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from storage.errors import CheckpointError
from tests.training.conftest import MODEL
from tests.training.jobs.test_train import MakeRun, weights
from training.config import TrainConfig
from training.engine.start import copy_parts, initial_model
from training.engine.weights import save_model
from training.jobs.train import train
from training.models.separator import Separator, build
from training.starts import PrefixesStart

SOURCE = Path("somewhere")


def model(seed: int = 0, **changes: object) -> Separator:
    torch.manual_seed(seed)
    return build(MODEL.model_copy(update=changes))


def changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> set[str]:
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def copied(
    given: Mapping[str, Tensor], prefixes: dict[str, str], strict: bool = True, outputs: int = 4
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return a fresh model's weights before and after."""
    fresh = model(outputs=outputs)
    before = {name: value.clone() for name, value in fresh.state_dict().items()}
    copy_parts(fresh, given, PrefixesStart(prefixes=prefixes, strict=strict), SOURCE)
    return before, fresh.state_dict()


def test_every_tensor_fits_a_model_of_the_same_settings() -> None:
    given = model(seed=1).state_dict()
    _, after = copied(given, {"": ""})
    assert not changed(given, after)


def test_a_part_is_copied_and_the_rest_is_fresh(caplog: pytest.LogCaptureFixture) -> None:
    given = model(seed=1).state_dict()
    with caplog.at_level(logging.INFO):
        before, after = copied(given, {"blocks.": "blocks."})
    blocks = {name for name in given if name.startswith("blocks.")}
    assert not changed({name: given[name] for name in blocks}, after)
    assert not changed({name: before[name] for name in before.keys() - blocks}, after)
    found, fresh = caplog.messages
    assert found.startswith(f"copied from somewhere: {len(blocks)} tensors (blocks.0 ")
    assert fresh.startswith(f"fresh: {len(given) - len(blocks)} tensors (decoder.")
    assert "encoder." in fresh and "blocks" not in fresh


def test_names_are_changed_and_the_longest_prefix_counts() -> None:
    own = model(seed=1).state_dict()
    given = {f"net.{name}": value for name, value in own.items() if not name.startswith("enc")}
    given |= {f"net.front.{name}": value for name, value in own.items() if name.startswith("enc")}
    given["optimiser.step"] = torch.ones(1)
    _, after = copied(given, {"net.": "", "net.front.encoder.": "encoder."})
    assert not changed(own, after)
    # By the shorter one alone, the encoder's tensors are called 'front.encoder.', which is nowhere.
    with pytest.raises(CheckpointError, match=r"'encoder\.\S+' would stay fresh and \d+ more"):
        copied(given, {"net.": ""})


def test_prefixes_that_do_not_fit_are_named_and_nothing_is_copied() -> None:
    given = model(seed=1, width=16).state_dict()
    fresh = model()
    before = {name: value.clone() for name, value in fresh.state_dict().items()}
    for prefixes, words in (
        ({"blocks.": "blocks."}, r"'blocks\.\S+' is \[16.*\] there and \[8.*\] here.* more;"),
        ({"blocks.": "bodies."}, r"'bodies\.\S+' is not in the model and \d+ more"),
        ({"encoders.": "encoder."}, r"'encoder\.\S+' would stay fresh"),
        ({"trunk.": "trunk."}, "no tensor's name begins so"),
    ):
        start = PrefixesStart(prefixes=prefixes)
        with pytest.raises(CheckpointError, match=words) as refused:
            copy_parts(fresh, given, start, SOURCE)
        assert "weights somewhere do not fit by start.prefixes" in str(refused.value)
        assert "set start.strict=false" in str(refused.value)
        assert not changed(before, fresh.state_dict())


def test_what_does_not_fit_stays_fresh_where_that_is_allowed() -> None:
    given = model(seed=1, outputs=6).state_dict()
    before, after = copied(given, {"": ""}, strict=False)
    other = {name for name, value in before.items() if value.shape != given[name].shape}
    assert other and all(name.startswith("decoder.") for name in other)
    assert not changed({name: before[name] for name in other}, after)
    assert not changed({name: given[name] for name in given.keys() - other}, after)
    before, after = copied(given, {"trunk.": "blocks."}, strict=False)
    assert not changed(before, after)


def test_a_run_trains_from_parts_of_another(
    make_run: MakeRun, mixit: TrainConfig, supervised: TrainConfig, tmp_path: Path
) -> None:
    given = model(seed=1, outputs=6)
    explanation = {"model": given.config.model_dump(mode="json")}
    save_model(tmp_path / "given", given.state_dict(), explanation)
    recipe = supervised.override([
        "start.kind=prefixes", 'start.prefixes={"blocks.": "blocks.", "encoder.": "encoder."}',
        "freeze_separator=true", "loop.steps=2",
    ])  # fmt: skip
    run = make_run("parts", "train", recipe, model=tmp_path / "given")
    first = initial_model(recipe, run.job()).state_dict()
    expected = given.state_dict()
    kept = {name for name in first if name.startswith(("blocks.", "encoder."))}
    assert not changed({name: expected[name] for name in kept}, first)
    fresh = initial_model(supervised, make_run("none", "train", supervised).job()).state_dict()
    assert not changed({name: fresh[name] for name in fresh.keys() - kept}, first)
    train(run)
    trained = changed(first, weights(run))
    assert {name.split(".")[0] for name in trained} == {"encoder", "decoder"}


def test_prefixes_without_a_model_are_refused(make_run: MakeRun, mixit: TrainConfig) -> None:
    recipe = mixit.override(["start.kind=prefixes"])
    with pytest.raises(CheckpointError, match=r"'prefixes' takes .* set start\.kind=inputs"):
        initial_model(recipe, make_run("none", "train", recipe).job())

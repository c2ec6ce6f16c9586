"""Both halves of the study fit each other, or are refused when they are parsed."""

import json
from collections.abc import Sequence

import pytest

from flows.studies.mixit.config import MixitStudyConfig
from flows.studies.mixit.recipes import RECIPES
from storage.errors import ConfigError
from storage.records import STEMS
from training.models.bs_locoformer.config import BsLocoformerConfig

SMOKE = RECIPES["smoke"]()
BOTH = ("pretraining", "finetuning")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            ["pretraining.model.blocks=2"],
            r"pretraining\.model\.blocks = 2, but finetuning\.model\.blocks = 1; .*set both alike",
        ),
        (
            ["finetuning.model.width=32", "finetuning.model.dropout=0.5"],
            r"pretraining\.model\.dropout = .*finetuning\.model\.dropout = 0\.5.*"
            r"pretraining\.model\.width = .*finetuning\.model\.width = 32",
        ),
        (
            ["pretraining.model.kind=bs_roformer"],
            r"pretraining\.model\.kind = 'bs_roformer', but finetuning\.model\.kind = "
            r"'bs_locoformer'; .*set both alike",
        ),
        (
            ["pretraining.model.outputs=3"],
            r"pretraining\.model\.outputs = 3, but stems names 4 .*set "
            r"pretraining\.model\.outputs=4 or more",
        ),
        (
            [f"stems={json.dumps([f's{number}' for number in range(13)])}"],
            r"pretraining\.model\.outputs = 6, but stems names 13",
        ),
    ],
)
def test_halves_that_do_not_fit_are_refused(settings: Sequence[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SMOKE.override(settings)


@pytest.mark.parametrize(
    "settings",
    [
        [f"{half}.model.width=32" for half in BOTH],
        [f"{half}.model.kind=bs_roformer" for half in BOTH],
        [f"{half}.model.kind=hdemucs" for half in BOTH],
        ["pretraining.model.outputs=4"],
        ["pretraining.model.blocks=2", "finetuning.start.kind=prefixes"],
    ],
)
def test_halves_that_fit_are_not(settings: Sequence[str]) -> None:
    found = SMOKE.override(settings)
    assert found != SMOKE
    assert found.finetuning.model.outputs == len(STEMS)


class FixedConfig(BsLocoformerConfig):
    """A model that can only separate."""

    ABILITIES = frozenset()


def test_a_model_that_cannot_choose_outputs_is_refused() -> None:
    halves = {
        half: (config := getattr(SMOKE, half)).model_copy(
            update={"model": FixedConfig(**dict(config.model))}
        )
        for half in BOTH
    }
    with pytest.raises(ValueError, match=r"cannot choose outputs.*one of bs_locoformer, bs_ro"):
        MixitStudyConfig(**{**dict(SMOKE), **halves})

"""What does not fit together is refused when it is parsed, in words that name both settings."""

from typing import ClassVar

import pytest

from storage.errors import ConfigError
from training import recipes
from training.config import EvaluateConfig, TrainConfig
from training.data.settings import DataSettings, References
from training.data.stems.config import StemsData
from training.jobs.evaluate import require_outputs
from training.losses.limits import MOST_OUTPUTS
from training.models.bs_locoformer.config import MICRO
from training.models.bs_roformer.config import BsRoformerConfig
from training.models.conv_tasnet.config import ConvTasNetConfig
from training.models.settings import ModelSettings
from training.models.table import MODELS
from training.objectives.l1.config import L1Objective
from training.objectives.mixit.config import MixitObjective
from training.objectives.supervised.config import SupervisedObjective
from training.settings.optimisers import AdamConfig
from training.settings.schedules import CosineSchedule, PlateauSchedule

MIXIT, SUPERVISED = recipes.pretrain_smoke(), recipes.finetune_smoke()


@pytest.mark.parametrize(
    ("recipe", "assignments", "words"),
    [
        (MIXIT, ["objective.kind=supervised"],
         ["objective.kind = 'supervised' needs stems", "data.kind = 'clips' gives mixtures",
          "set one to suit the other"]),
        (MIXIT, ["objective.kind=l1"],
         ["objective.kind = 'l1' needs stems", "data.kind = 'clips' gives mixtures"]),
        (SUPERVISED, ["objective.kind=mixit"],
         ["objective.kind = 'mixit' needs mixtures", "data.kind = 'stems' gives stems"]),
        (SUPERVISED, ["data.kind=windows"],
         ["objective.kind = 'supervised' needs stems", "data.kind = 'windows' gives mixtures"]),
        (SUPERVISED, ["model.outputs=1"],
         ["model.outputs = 1", "data.stems names 4", "set model.outputs=4"]),
        (SUPERVISED, ["model.outputs=6"],
         ["model.outputs = 6", "data.stems names 4", "set model.outputs=4"]),
        (SUPERVISED, ["objective.kind=l1", "model.outputs=6"],
         ["objective.kind = 'l1'", "model.outputs = 6", "set model.outputs=4"]),
        (SUPERVISED, ['data.stems=["vocals", "rest"]'],
         ["model.outputs = 4", "data.stems names 2", "set model.outputs=2"]),
        (MIXIT, ["model.outputs=1"], ["model.outputs = 1", "set model.outputs=2 or more"]),
        (MIXIT, ["model.outputs=22"],
         ["model.outputs = 22", "objective.solver = 'exact'", f"at most {MOST_OUTPUTS}",
          "set objective.solver=lstsq"]),
        (SUPERVISED, ["model.kind=hdemucs", "freeze_separator=true"],
         ["freeze_separator = true", "kind 'hdemucs'", "set freeze_separator=false"]),
    ],
)  # fmt: skip
def test_misfits_are_named_with_a_remedy(
    recipe: TrainConfig, assignments: list[str], words: list[str]
) -> None:
    for order in (assignments, assignments[::-1]):
        with pytest.raises(ConfigError) as refused:
            recipe.override(order)
        assert all(word in str(refused.value) for word in words), str(refused.value)


@pytest.mark.parametrize(
    ("recipe", "assignments"),
    [
        (MIXIT, ["model.outputs=22", "objective.solver=lstsq"]),
        (MIXIT, [f"model.outputs={MOST_OUTPUTS}"]),
        (MIXIT, ["model.outputs=2"]),
        (MIXIT, ["data.kind=windows"]),
        (SUPERVISED, ["model.outputs=2", 'data.stems=["vocals", "rest"]']),
        (SUPERVISED, ["objective.kind=l1"]),
        (SUPERVISED, ["freeze_separator=true", "model.kind=bs_roformer"]),
    ],
)
def test_what_fits_is_taken(recipe: TrainConfig, assignments: list[str]) -> None:
    assert recipe.override(assignments) == recipe.override(assignments[::-1])


def test_several_misfits_are_all_told() -> None:
    with pytest.raises(ConfigError) as refused:
        SUPERVISED.override(["objective.kind=mixit", "model.outputs=1"])
    assert "needs mixtures" in str(refused.value)
    assert "set model.outputs=2 or more" in str(refused.value)


class Bank(DataSettings):
    """Stems of two separators beside the mixture: what a mixer is given."""

    REFERENCES: ClassVar[References] = "stems"

    @property
    def inputs(self) -> int:
        return 9

    @property
    def references(self) -> int:
        return 4


class Mixer(ModelSettings):
    INPUTS: ClassVar[int] = 9


def test_a_mixers_inputs_and_a_separators_are_not_mistaken() -> None:
    four = MICRO.model_copy(update={"outputs": 4})
    bank, mixer = Bank(kind="bank"), Mixer(kind="mixer")
    for objective in (SupervisedObjective(), L1Objective()):
        assert not list(objective.misfits(mixer, bank))
        (said,) = objective.misfits(four, bank)
        assert "model.kind = 'bs_locoformer' takes 1 input(s)" in said
        assert "data.kind = 'bank' gives 9" in said
        (said,) = objective.misfits(mixer, StemsData())
        assert "takes 9 input(s), but data.kind = 'stems' gives 1" in said


@pytest.mark.parametrize("stems", [[], ["vocals", "vocals"]])
def test_stems_are_named_once_each(stems: list[str]) -> None:
    values = {**SUPERVISED.model_dump(mode="json"), "data": {"kind": "stems", "stems": stems}}
    with pytest.raises(ConfigError, match=r"configuration 'data': stems .*one or more, each once"):
        TrainConfig.parse(values)


def test_outputs_and_the_stems_to_score_fit_each_other() -> None:
    named, two = EvaluateConfig(), EvaluateConfig(stems=("vocals", "rest"))
    oracle = two.override(["assignment=oracle"])
    for outputs, config in ((4, named), (2, two), (2, oracle), (6, oracle)):
        require_outputs(outputs, config)
    for outputs, config in ((12, named), (3, named), (4, two)):
        with pytest.raises(ConfigError, match=rf"has {outputs} outputs .*evaluation\.stems names"):
            require_outputs(outputs, config)
    with pytest.raises(ConfigError, match=r"has 1 outputs, fewer than the 2.*name fewer stems"):
        require_outputs(1, oracle)


@pytest.mark.parametrize("kind", [settings.model_fields["kind"].default for settings in MODELS])
def test_another_model_keeps_what_models_share_and_takes_its_own_defaults(kind: str) -> None:
    changed = MIXIT.override([
        "model.outputs=5", "model.audio_channels=1", "model.sample_rate=16000", "model.kind=" + kind
    ])  # fmt: skip
    model = changed.model
    assert model.kind == kind
    assert (model.outputs, model.audio_channels, model.sample_rate) == (5, 1, 16_000)
    if kind != MIXIT.model.kind:
        shared = {"outputs": 5, "audio_channels": 1, "sample_rate": 16_000}
        assert model == type(model).parse({"kind": kind, **shared})


def test_settings_of_the_new_kind_are_set_in_the_same_breath_in_any_order() -> None:
    assignments = ["model.kind=conv_tasnet", "model.filters=32", "model.outputs=3"]
    expected = ConvTasNetConfig(filters=32, outputs=3)
    for order in (assignments, assignments[::-1]):
        assert MIXIT.override(order).model == expected
    both = ["schedule.kind=plateau", "schedule.patience=1", "optim.kind=adam", "optim.lr=0.1"]
    for order in (both, both[::-1]):
        changed = MIXIT.override(order)
        assert changed.schedule == PlateauSchedule(warmup_steps=2, patience=1)
        assert isinstance(changed.optim, AdamConfig)
        assert changed.optim.lr == 0.1
    # The same kind again is no other: nothing is set back.
    assert MIXIT.override(["model.kind=bs_locoformer"]) == MIXIT
    assert isinstance(MIXIT.objective, MixitObjective)


def test_what_the_new_kind_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting 'model\.width': model has no 'width'"):
        MIXIT.override(["model.width=32", "model.kind=conv_tasnet"])
    with pytest.raises(ConfigError, match=r"'schedule\.decay': schedule has no 'decay'"):
        MIXIT.override(["schedule.kind=cosine", "schedule.decay=0.5"])
    assert MIXIT.override(["schedule.kind=cosine"]).schedule == CosineSchedule(warmup_steps=2)


def test_an_unknown_kind_is_refused_with_those_there_are() -> None:
    kinds = ", ".join(sorted(settings.model_fields["kind"].default for settings in MODELS))
    with pytest.raises(ConfigError, match=f"'model.kind' = 'unet': there are {kinds}"):
        MIXIT.override(["model.kind=unet"])
    with pytest.raises(ConfigError, match=r"setting 'schedule\.kind' = 'step': there are "):
        MIXIT.override(["schedule.kind=step"])
    values = MIXIT.model_dump(mode="json")
    del values["model"]["kind"]
    with pytest.raises(ConfigError, match=r"configuration 'model\.kind' is missing"):
        TrainConfig.parse(values)


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("optim.warmup_steps=3", "did you mean 'schedule.warmup_steps'"),
        ("optim.decay_every=3", "did you mean 'schedule.decay_every'"),
        ("loop.lr=3", "did you mean 'optim.lr'"),
        ("loop.kind=x", "unknown setting 'loop.kind'"),
    ],
)
def test_a_setting_that_lies_elsewhere_is_found(assignment: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MIXIT.override([assignment])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model": {"kind": "bs_roformer", "n_fft": -1}}, "'model.n_fft' = -1"),
        ({"model": {"kind": "bs_roformer", "hop": 700}}, "configuration 'model': hop 700"),
        ({"model": {"kind": "hdemucs", "width": 3}}, "unknown configuration 'model.width'"),
        ({"data": {"kind": "stems", "gain_db": -1}}, "'data.gain_db' = -1"),
        ({"optim": {"kind": "adam", "betas": [0.5, 2]}}, "'optim.betas.1' = 2"),
        ({"schedule": {"kind": "plateau", "factor": 1}}, "'schedule.factor' = 1"),
        ({"start": {"kind": "prefixes", "prefixes": {}}}, "'start.prefixes'"),
    ],
)
def test_paths_are_spelled_as_they_are_set(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError) as refused:
        TrainConfig.parse({**SUPERVISED.model_dump(mode="json"), **changes})
    assert named in str(refused.value)


def test_each_kind_of_model_is_parsed_as_itself() -> None:
    config = MIXIT.override(["model.kind=bs_roformer"])
    again = TrainConfig.parse(config.model_dump(mode="json"))
    assert isinstance(again.model, BsRoformerConfig)
    assert again == config

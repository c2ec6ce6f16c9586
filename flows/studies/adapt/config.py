"""The study as one frozen value, and what has to fit between it and the model that it is given."""

import json
from collections.abc import Iterator
from typing import ClassVar, Self

from pydantic import model_validator

from flows.config import StudyConfig
from flows.stages.given_model import GivenModel
from pipelines.config import CHANNELS, SAMPLE_RATE, MusdbConfig
from pipelines.licences import allows
from storage.errors import ConfigError
from storage.home.layout import ATTRIBUTION
from storage.manifests import read_table
from storage.records import STEMS, TrainedOn
from training.config import EvaluateConfig, SelectConfig, TrainConfig
from training.models.settings import ModelSettings
from training.models.table import MODELS

UNSET: ModelSettings = next(iter(MODELS)).parse({"outputs": len(STEMS)})
"""Holds the place of the given model's settings, whichever model that is, until they are read."""


class AdaptStudyConfig(StudyConfig):
    """A model as given, and fine-tuned."""

    PATHS: ClassVar[tuple[str, ...]] = ("data.root", "model")
    STEMS_OF: ClassVar[tuple[str, ...]] = (
        "musdb.stems", "finetuning.data.stems", "selection.stems", "evaluation.stems",
    )  # fmt: skip
    OUTPUTS_OF: ClassVar[tuple[str, ...]] = ("finetuning.model.outputs",)

    model: str = ""
    """Folder of the model, as `stemworks import` or `stemworks export` wrote it, or a training's
    run directory. Its contents decide the result, wherever it is."""
    musdb: MusdbConfig = MusdbConfig()
    """The songs with stems that fine-tuning learns from and separators are scored on."""
    selection: SelectConfig = SelectConfig()
    """Of outputs, where the model has more than there are stems, and they have no names."""
    finetuning: TrainConfig
    """Supervised, on the songs' stems. Its `model` is the given one's and is left as it is here."""
    evaluation: EvaluateConfig = EvaluateConfig()
    """How the test songs are separated and scored."""

    @model_validator(mode="after")
    def _leaves_the_model_to_its_folder(self) -> Self:
        own = self.finetuning.model
        if own != UNSET.model_copy(update={"outputs": own.outputs}):
            raise ValueError(
                "finetuning.model is set, but the model's folder says what it is; name the folder "
                "with '--set model=FOLDER', and leave finetuning.model as it is"
            )
        return self


def selects(config: AdaptStudyConfig, given: GivenModel) -> bool:
    """Say whether outputs have to be chosen: there are more than stems."""
    return given.settings.outputs > len(config.stems)


def require_fit(config: AdaptStudyConfig, given: GivenModel) -> None:
    """Raise `ConfigError`, with the remedies, if a study cannot fine-tune the model."""
    if found := list(_misfits(config, given)):
        raise ConfigError(f"model = {given.path} does not fit the study: {'; '.join(found)}")


def finetuning_of(config: AdaptStudyConfig, given: GivenModel) -> TrainConfig:
    """Return the fine-tuning of the given model, with one output per stem.

    Raises:
        ConfigError: the objective or another setting does not fit the model.
    """
    model = given.settings.model_copy(update={"outputs": len(config.stems)})
    values = config.finetuning.model_dump(mode="json") | {"model": model.model_dump(mode="json")}
    return TrainConfig.parse(values, "finetuning of the given model:")


def _misfits(config: AdaptStudyConfig, given: GivenModel) -> Iterator[str]:
    model, stems = given.settings, config.stems
    if config.licences:
        yield from _unlicensed(config, given)
    if model.sample_rate != SAMPLE_RATE:
        yield (
            f"it works at {model.sample_rate} Hz, and songs are prepared at {SAMPLE_RATE} Hz; "
            "choose a model of that rate"
        )
    if model.audio_channels != CHANNELS:
        yield (
            f"it has {model.audio_channels} audio channels, and songs are prepared with {CHANNELS}"
            "; choose a stereo model"
        )
    if given.stems and given.stems != stems:
        theirs = json.dumps(list(given.stems), separators=(",", ":"))
        yield (
            f"its outputs are {theirs}, and stems = {json.dumps(list(stems))}; give "
            f"'--set stems={theirs}', and musdb.mix for stems that are sums of recordings"
        )
    elif model.outputs < len(stems):
        yield (
            f"it has {model.outputs} outputs, fewer than the {len(stems)} of stems; give "
            "'--set stems=[...]' with as many"
        )
    elif selects(config, given) and "choose_outputs" not in model.ABILITIES:
        yield (
            f"it has {model.outputs} outputs, more than the {len(stems)} of stems, and a model of "
            f"kind '{model.kind}' cannot choose among them; give '--set stems=[...]' with as many"
        )


def _unlicensed(config: AdaptStudyConfig, given: GivenModel) -> Iterator[str]:
    """Yield why a model breaks the study's promise that all music is under certain licences."""
    allowed, listed = json.dumps(list(config.licences)), given.folder / ATTRIBUTION
    if not listed.is_file():
        yield (
            f"licences = {allowed}, but no {ATTRIBUTION} beside it says what it was trained on; "
            "give a model that 'stemworks export' wrote"
        )
        return
    held = {row.licence or "none stated" for row in read_table(listed, TrainedOn)}
    if others := sorted(one for one in held if not allows(config.licences, one)):
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        yield (
            f"licences = {allowed}, but it was trained on music under '{others[0]}'{more}; allow "
            "that, too, or give another model"
        )

"""The study's named configurations. The model is named when it is run: `--set model=FOLDER`."""

from collections.abc import Callable

from flows.studies.adapt.config import UNSET, AdaptStudyConfig
from pipelines.config import MusdbConfig
from pipelines.synthesis.config import SynthesisConfig
from training import recipes as training
from training.config import EvaluateConfig, LoopConfig, SelectConfig, TrainConfig
from training.data.stems.config import StemsData
from training.objectives.supervised.config import SupervisedObjective
from training.settings.optimisers import AdamWConfig
from training.settings.schedules import ExponentialSchedule


def adapt() -> AdaptStudyConfig:
    """A given model, 5000 gentle steps on MUSDB18-HQ: hours on one GPU."""
    return AdaptStudyConfig(name="adapt", finetuning=_finetuning())


def adapt_smoke() -> AdaptStudyConfig:
    """A handful of synthesised songs and of steps: does every stage run?"""
    return AdaptStudyConfig(
        name="adapt_smoke",
        synthesis=SynthesisConfig(
            tracks=1,
            track_seconds=12,
            train_songs=2,
            validation_songs=1,
            test_songs=1,
            song_seconds=6,
            damaged=False,
        ),
        musdb=MusdbConfig(archive="musdb18hq_demo.zip"),
        selection=SelectConfig(chunk_seconds=1),
        finetuning=training.finetune_smoke().model_copy(update={"model": UNSET}),
        evaluation=EvaluateConfig(excerpt_seconds=1),
    )


def _finetuning() -> TrainConfig:
    return TrainConfig(
        model=UNSET,
        data=StemsData(batch_size=8),
        objective=SupervisedObjective(),
        # A tenth of what a model begins with: it is to keep what it can do.
        optim=AdamWConfig(lr=1e-4),
        schedule=ExponentialSchedule(warmup_steps=250, hold_steps=2500, decay=0.9, decay_every=250),
        loop=LoopConfig(steps=5000, validate_every=250, checkpoint_every=250),
    )


RECIPES: dict[str, Callable[[], AdaptStudyConfig]] = {
    recipe.__name__: recipe for recipe in (adapt, adapt_smoke)
}

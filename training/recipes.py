"""Named training recipes, torch-free: each a function that returns one complete `TrainConfig`.

The published ones follow the authors' code (Saijo & Bando 2025): batch sizes are over all
processes, steps are optimiser steps.
"""

from storage.records import STEMS
from training.config import LoopConfig, TrainConfig
from training.data.clips.config import ClipsData
from training.data.settings import DataSettings
from training.data.stems.config import StemsData
from training.models.bs_locoformer.config import LARGE, MEDIUM, MICRO, SMALL, TINY
from training.models.settings import ModelSettings
from training.objectives.mixit.config import MixitObjective
from training.objectives.settings import ObjectiveSettings
from training.objectives.supervised.config import SupervisedObjective
from training.optimisers import AdamWConfig
from training.runtime import RuntimeConfig
from training.schedules import ExponentialSchedule

LARGE_LR = 5e-4
FROZEN_STEPS = 22_000
"""200 epochs of 110 steps."""
PUBLISHED = RuntimeConfig(loader_workers=4)
"""As many as the authors' loader has. One thread reads some 100 MoMs/s, which a GPU may outrun."""


def pretrain_small() -> TrainConfig:
    """MixIT on FMA-large: 150 epochs of 1019 steps of 128 mixtures of mixtures."""
    return _pretrain(SMALL)


def pretrain_medium() -> TrainConfig:
    """As `pretrain_small`, three times the model."""
    return _pretrain(MEDIUM)


def pretrain_large() -> TrainConfig:
    """As `pretrain_small`, nine times the model and half the learning rate."""
    return _pretrain(LARGE, LARGE_LR)


def finetune_small() -> TrainConfig:
    """Dynamic mixes of MUSDB18-HQ: 900 epochs of 110 steps of 32 mixtures."""
    return _finetune(SMALL)


def finetune_medium() -> TrainConfig:
    """As `finetune_small`, three times the model."""
    return _finetune(MEDIUM)


def finetune_large() -> TrainConfig:
    """As `finetune_small`, nine times the model and half the learning rate."""
    return _finetune(LARGE, LARGE_LR)


def frozen(config: TrainConfig) -> TrainConfig:
    """Return the recipe with only encoder and decoder trained, for 200 epochs (Table 2)."""
    loop = config.loop.model_copy(update={"steps": FROZEN_STEPS})
    return config.model_copy(update={"freeze_separator": True, "loop": loop})


def pretrain_demo() -> TrainConfig:
    """A tiny model that visibly learns from synthesised music in minutes on two cores."""
    data = ClipsData(batch_size=4, segment_seconds=2, validation_share=0.1)
    return _brief(TINY, data, MixitObjective(), steps=100)


def finetune_demo() -> TrainConfig:
    """The demo's second half."""
    data = StemsData(batch_size=4, segment_seconds=2)
    return _brief(_four(TINY), data, SupervisedObjective(), steps=150)


def pretrain_tiny() -> TrainConfig:
    """A tiny model on a handful of real recordings."""
    data = ClipsData(batch_size=4, segment_seconds=2, validation_share=0.2)
    return _brief(TINY, data, MixitObjective(), steps=40)


def finetune_tiny() -> TrainConfig:
    """The second half on a handful of real songs, some shorter than a segment."""
    data = StemsData(batch_size=4, segment_seconds=2)
    return _brief(_four(TINY), data, SupervisedObjective(), steps=40)


def pretrain_gain(seed: int = 0) -> TrainConfig:
    """What pre-training is worth, at our scale: a quarter of an hour on two cores."""
    data = ClipsData(batch_size=4, segment_seconds=2, validation_share=0.1)
    return _gain(_brief(TINY, data, MixitObjective(), steps=1000), seed)


def finetune_gain(seed: int = 0) -> TrainConfig:
    """The same budget from the pre-trained model and from scratch: seven minutes each."""
    data = StemsData(batch_size=4, segment_seconds=2)
    return _gain(_brief(_four(TINY), data, SupervisedObjective(), steps=600), seed)


def pretrain_smoke() -> TrainConfig:
    """A micro model for a handful of steps: does every part run?"""
    return _smoke(MICRO, ClipsData(batch_size=2, segment_seconds=1), MixitObjective())


def finetune_smoke() -> TrainConfig:
    """The smoke test's second half."""
    return _smoke(_four(MICRO), StemsData(batch_size=2, segment_seconds=1), SupervisedObjective())


def _pretrain(model: ModelSettings, lr: float = 1e-3) -> TrainConfig:
    return TrainConfig(model=model, optim=AdamWConfig(lr=lr), runtime=PUBLISHED)


def _finetune(model: ModelSettings, lr: float = 1e-3) -> TrainConfig:
    return TrainConfig(
        model=_four(model),
        data=StemsData(),
        objective=SupervisedObjective(),
        optim=AdamWConfig(lr=lr),
        schedule=ExponentialSchedule(
            warmup_steps=5000, hold_steps=60_500, decay=0.98, decay_every=220
        ),
        # Every 5 epochs of 110 steps.
        loop=LoopConfig(steps=99_000, validate_every=550, checkpoint_every=550),
        runtime=PUBLISHED,
    )


def _brief(
    model: ModelSettings,
    data: DataSettings,
    objective: ObjectiveSettings,
    steps: int,
) -> TrainConfig:
    return TrainConfig(
        model=model,
        data=data,
        objective=objective,
        optim=AdamWConfig(lr=2e-3),
        schedule=ExponentialSchedule(
            warmup_steps=steps // 10,
            hold_steps=steps // 2,
            decay=0.8,
            decay_every=max(1, steps // 20),
        ),
        loop=LoopConfig(
            steps=steps,
            validate_every=max(1, steps // 4),
            validation_batches=4,
            checkpoint_every=20,
            log_every=5,
            keep_best=1,
        ),
        runtime=RuntimeConfig(snapshot_every=max(1, steps // 2)),
    )


def _gain(config: TrainConfig, seed: int) -> TrainConfig:
    """Validate often and well, and average the best, as the paper does."""
    steps = config.loop.steps
    loop = config.loop.model_copy(
        update={
            "validate_every": steps // 20,
            "validation_batches": 16,
            "checkpoint_every": 50,
            "log_every": 10,
            "keep_best": 5,
            "seed": seed,
        }
    )
    return config.model_copy(update={"loop": loop})


def _smoke(
    model: ModelSettings,
    data: DataSettings,
    objective: ObjectiveSettings,
) -> TrainConfig:
    return TrainConfig(
        model=model,
        data=data,
        objective=objective,
        schedule=ExponentialSchedule(warmup_steps=2, hold_steps=4, decay=0.9, decay_every=1),
        loop=LoopConfig(
            steps=6,
            validate_every=3,
            validation_batches=1,
            checkpoint_every=2,
            log_every=1,
            keep_best=2,
        ),
    )


def _four(model: ModelSettings) -> ModelSettings:
    return model.model_copy(update={"outputs": len(STEMS)})

"""Named studies, each a function that returns one complete `StudyConfig`."""

from collections.abc import Callable

from flows.config import SourceConfig, StudyConfig
from pipelines.config import FmaConfig, MusdbConfig, SynthesisConfig
from storage.errors import ConfigError
from training import recipes as training
from training.config import EvaluateConfig, SelectConfig, SeparateConfig, TrainConfig

DEMO_FMA = {"archive": "fma_demo.zip", "unit_tracks": 8, "error_budget": 0.2}
DEMO_MUSDB = MusdbConfig(archive="musdb18hq_demo.zip")


def demo() -> StudyConfig:
    """Synthesised music, a tiny model, minutes on two cores: the whole works, visibly learning."""
    return StudyConfig(
        name="demo",
        synthesis=SynthesisConfig(),
        fma=FmaConfig.parse(DEMO_FMA),
        musdb=DEMO_MUSDB,
        pretraining=training.pretrain_demo(),
        selection=SelectConfig(chunk_seconds=3),
        finetuning=training.finetune_demo(),
        evaluation=EvaluateConfig(separate=SeparateConfig(chunk_seconds=6, hop_seconds=3)),
    )


def smoke() -> StudyConfig:
    """A handful of seconds of music and a handful of steps: does every stage run?"""
    return StudyConfig(
        name="smoke",
        synthesis=SynthesisConfig(
            tracks=4,
            track_seconds=16,
            train_songs=3,
            validation_songs=1,
            test_songs=1,
            song_seconds=8,
            damaged=False,
        ),
        fma=FmaConfig.parse({**DEMO_FMA, "unit_tracks": 2}),
        musdb=DEMO_MUSDB,
        pretraining=training.pretrain_smoke(),
        selection=SelectConfig(chunk_seconds=1),
        finetuning=training.finetune_smoke(),
        evaluation=EvaluateConfig(
            separate=SeparateConfig(chunk_seconds=2, hop_seconds=1), excerpt_seconds=2
        ),
    )


def real_tiny() -> StudyConfig:
    """Seventeen real recordings and three real songs: every rule met, every damage found."""
    return StudyConfig(
        name="real_tiny",
        data=SourceConfig(root="../shared/data"),
        fma=FmaConfig(
            archive="fma_tiny.zip",
            sha1="0a4077d0994cb8ee3b4138bdc1f00e07392001b2",
            metadata_sha1="075773019ddd086046eda5e928f48f85e8e47b9b",
            unit_tracks=4,
            # Three of its seventeen tracks are damaged on purpose.
            error_budget=0.25,
        ),
        musdb=MusdbConfig(
            archive="musdb18hq_tiny.zip",
            sha1="13a52b001e91ed760e222666c1bd8379b0b6d1d4",
            validation=("Music Delta - 80s Rock (second half)",),
        ),
        pretraining=training.pretrain_tiny(),
        selection=SelectConfig(chunk_seconds=3),
        finetuning=training.finetune_tiny(),
        evaluation=EvaluateConfig(separate=SeparateConfig(chunk_seconds=6, hop_seconds=3)),
    )


def paper_small() -> StudyConfig:
    """The paper's rows S1 and S2, at its full scale: FMA-large and MUSDB18-HQ."""
    return _paper("paper_small", training.pretrain_small(), training.finetune_small())


def paper_medium() -> StudyConfig:
    """The paper's rows M1 and M2, at its full scale."""
    return _paper("paper_medium", training.pretrain_medium(), training.finetune_medium())


def paper_large() -> StudyConfig:
    """The paper's rows L1 and L2, at its full scale."""
    return _paper("paper_large", training.pretrain_large(), training.finetune_large())


RECIPES: dict[str, Callable[[], StudyConfig]] = {
    recipe.__name__: recipe
    for recipe in (demo, smoke, real_tiny, paper_small, paper_medium, paper_large)
}


def named(name: str) -> StudyConfig:
    """Return a recipe's study; raise `ConfigError` that lists the recipes if there is none."""
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe '{name}'; the recipes are {', '.join(RECIPES)}")
    return RECIPES[name]()


def _paper(name: str, pretraining: TrainConfig, finetuning: TrainConfig) -> StudyConfig:
    return StudyConfig(
        name=name,
        # Sizes and sums of both archives are known by their names.
        fma=FmaConfig(archive="fma_large.zip"),
        pretraining=pretraining,
        finetuning=finetuning,
    )

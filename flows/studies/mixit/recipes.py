"""The study's named configurations, each a function that returns one complete value."""

from collections.abc import Callable

from flows.config import SourceConfig
from flows.studies.mixit.config import MixitStudyConfig, TablesConfig, VariantConfig
from pipelines.config import FmaConfig, MusdbConfig
from pipelines.synthesis.config import SynthesisConfig
from training import recipes as training
from training.config import EvaluateConfig, SelectConfig, SeparateConfig, TrainConfig
from training.models.bs_locoformer.config import LARGE, MEDIUM, MICRO, SMALL, TINY
from training.models.settings import ModelSettings

DEMO_FMA = {"archive": "fma_demo.zip", "unit_tracks": 8, "error_budget": 0.2}
DEMO_MUSDB = MusdbConfig(archive="musdb18hq_demo.zip")


def demo() -> MixitStudyConfig:
    """Synthesised music, a tiny model, minutes on two cores: the whole works, visibly learning."""
    return MixitStudyConfig(
        name="demo",
        synthesis=SynthesisConfig(),
        fma=FmaConfig.parse(DEMO_FMA),
        musdb=DEMO_MUSDB,
        pretraining=training.pretrain_demo(),
        selection=SelectConfig(chunk_seconds=3),
        finetuning=training.finetune_demo(),
        evaluation=EvaluateConfig(separate=SeparateConfig(chunk_seconds=6, hop_seconds=3)),
        tables=TablesConfig(
            sizes=(
                _size("small", TINY.model_copy(update={"blocks": 1})),
                _size("medium", TINY),
                _size("large", TINY.model_copy(update={"blocks": 3})),
            ),
            scales=(_tracks("small", 12), _tracks("medium", 24), _tracks("large", 48)),
            frozen_steps=100,
        ),
    )


def gain() -> MixitStudyConfig:
    """What pre-training is worth at our scale (`mixit_gain`): half an hour a seed on two cores."""
    # Thirty times as much music without stems as with: the paper's case is the scarcity of stems.
    return demo().model_copy(
        update={
            "name": "gain",
            "synthesis": SynthesisConfig(tracks=240, train_songs=14, test_songs=10),
            "pretraining": training.pretrain_gain(),
            "finetuning": training.finetune_gain(),
        }
    )


def smoke() -> MixitStudyConfig:
    """A handful of seconds of music and a handful of steps: does every stage run?"""
    return MixitStudyConfig(
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
        tables=TablesConfig(
            sizes=(
                _size("small", MICRO.model_copy(update={"hidden": 4})),
                _size("medium", MICRO),
                _size("large", MICRO.model_copy(update={"blocks": 2})),
            ),
            scales=(_tracks("small", 4), _tracks("large", 6)),
            frozen_steps=4,
        ),
    )


def real_tiny() -> MixitStudyConfig:
    """Seventeen real recordings and three real songs: every rule met, every damage found."""
    return MixitStudyConfig(
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


def paper() -> MixitStudyConfig:
    """The paper's tables at full scale, around its medium row: `plan table1` and its like."""
    scales = ("small", "medium", "large", "full")
    return _paper("paper", training.pretrain_medium(), training.finetune_medium()).model_copy(
        update={
            "tables": TablesConfig(
                sizes=(
                    _size("small", SMALL),
                    _size("medium", MEDIUM),
                    _size("large", LARGE, training.LARGE_LR),
                ),
                scales=tuple(
                    VariantConfig(name=name, settings=(f"fma.archive=fma_{name}.zip",))
                    for name in scales
                ),
                frozen_steps=training.FROZEN_STEPS,
            )
        }
    )


def paper_small() -> MixitStudyConfig:
    """The paper's rows S1 and S2, at its full scale: FMA-large and MUSDB18-HQ."""
    return _paper("paper_small", training.pretrain_small(), training.finetune_small())


def paper_medium() -> MixitStudyConfig:
    """The paper's rows M1 and M2, at its full scale."""
    return _paper("paper_medium", training.pretrain_medium(), training.finetune_medium())


def paper_large() -> MixitStudyConfig:
    """The paper's rows L1 and L2, at its full scale."""
    return _paper("paper_large", training.pretrain_large(), training.finetune_large())


RECIPES: dict[str, Callable[[], MixitStudyConfig]] = {
    recipe.__name__: recipe
    for recipe in (demo, gain, smoke, real_tiny, paper, paper_small, paper_medium, paper_large)
}


def _paper(name: str, pretraining: TrainConfig, finetuning: TrainConfig) -> MixitStudyConfig:
    return MixitStudyConfig(
        name=name,
        # Sizes and sums of both archives are known by their names.
        fma=FmaConfig(archive="fma_large.zip"),
        pretraining=pretraining,
        finetuning=finetuning,
    )


def _size(name: str, model: ModelSettings, lr: float | None = None) -> VariantConfig:
    """Return a size of the separator, before and after channel selection alike."""
    halves = ("pretraining", "finetuning")
    size = [
        f"{half}.model.{field}={getattr(model, field)}"
        for half in halves
        for field in ("blocks", "width", "hidden", "heads", "groups")
    ]
    rates = [f"{half}.optim.lr={lr}" for half in halves] if lr else []
    return VariantConfig(name=name, settings=(*size, *rates))


def _tracks(name: str, tracks: int) -> VariantConfig:
    """Return a scale of synthesised music; the songs with stems are the study's own throughout."""
    return VariantConfig(name=name, settings=(f"synthesis.tracks={tracks}",))

"""Settings as the last release wrote them: they parse, and work done by them counts as done."""

import json

import pytest

from storage.config import Json
from storage.errors import ConfigError
from training import recipes
from training.config import EvaluateConfig, SelectConfig, SeparateConfig, TrainConfig
from training.data.clips.config import ClipsData
from training.objectives.mixit.config import MixitObjective
from training.settings.optimisers import AdamConfig, AdamWConfig
from training.settings.schedules import ExponentialSchedule

OLD: Json = {
    "model": {
        "kind": "bs_locoformer", "outputs": 6, "audio_channels": 2, "sample_rate": 44100,
        "n_fft": 2048, "hop": 512, "blocks": 1, "width": 16, "hidden": 8, "kernel": 4, "heads": 2,
        "groups": 2, "dropout": 0.0, "keep_last_frame": False, "decoder_tanh": "second",
    },
    "data": {
        "kind": "mixit", "batch_size": 2, "segment_seconds": 1.0, "gain_db": 5.0,
        "validation_share": 0.05, "order": "clips", "shards_at_once": 16, "cache": "",
        "cache_gb": 100.0,
    },
    "objective": {"kind": "mixit", "solver": "exact", "soft_threshold_db": 30.0},
    "optim": {
        "lr": 0.001, "weight_decay": 0.01, "betas": [0.9, 0.999], "warmup_steps": 2,
        "hold_steps": 4, "decay": 0.9, "decay_every": 1, "clip_norm": 5.0,
    },
    "loop": {
        "steps": 6, "validate_every": 3, "validation_batches": 1, "checkpoint_every": 2,
        "log_every": 1, "keep_best": 2, "ema_decay": 0.0, "seed": 0,
    },
    "precision": "auto",
    "freeze_separator": False,
}  # fmt: skip
"""The smoke recipe's pre-training as the last release wrote it into its homes."""
OLD_DIGEST = "9b19b48f98ef10ec"


def test_old_settings_are_todays_under_other_names() -> None:
    config = TrainConfig.parse(json.loads(json.dumps(OLD)))
    assert config == recipes.pretrain_smoke()
    assert config.optim == AdamWConfig()
    assert config.schedule == ExponentialSchedule(
        warmup_steps=2, hold_steps=4, decay=0.9, decay_every=1
    )
    assert isinstance(config.data, ClipsData)


def test_old_settings_keep_their_digest_and_what_they_are_keyed_by() -> None:
    config = TrainConfig.parse(OLD)
    assert config.digest().startswith(OLD_DIGEST)
    # Settings of where and how fast are in no key.
    data = {name: value for name, value in OLD["data"].items() if not name.startswith("cache")}
    assert json.loads(json.dumps(config.what_matters())) == {**OLD, "data": data}
    # What today writes is read as the same.
    assert TrainConfig.parse(config.model_dump(mode="json")).digest() == config.digest()


def test_old_settings_are_refused_under_their_own_names() -> None:
    for key, value, named in (
        ("lr", -1, "'optim.lr' = -1"),
        ("decay", 2, "'schedule.decay' = 2"),
        ("momentum", 1, "unknown configuration 'optim.momentum'"),
    ):
        with pytest.raises(ConfigError, match=named):
            TrainConfig.parse({**OLD, "optim": {**OLD["optim"], key: value}})
    with pytest.raises(ConfigError, match=r"'data\.gain_db' = -1"):
        TrainConfig.parse({**OLD, "data": {**OLD["data"], "gain_db": -1}})


def test_whatever_the_last_release_did_not_know_has_a_key_of_its_own() -> None:
    config = TrainConfig.parse(OLD)
    others = [
        config.override([f"schedule.kind={kind}"]) for kind in ("cosine", "plateau", "constant")
    ]
    others.append(config.model_copy(update={"optim": AdamConfig(weight_decay=0.01)}))
    others.append(config.model_copy(update={"objective": MixitObjective(level_hop=256)}))
    others.append(config.override(["start.kind=prefixes"]))
    others.append(config.override(["data.kind=windows"]))
    digests = {each.digest() for each in (config, *others)}
    assert len(digests) == len(others) + 1


def test_unsaid_chunks_are_keyed_as_they_were_and_said_ones_are_not() -> None:
    assert SeparateConfig().what_matters() == {
        "chunk_seconds": 12.0, "hop_seconds": 6.0, "shifts": 1, "swap_channels": False,
        "sum_to_mixture": False,
    }  # fmt: skip
    unsaid, said = SeparateConfig(), SeparateConfig(chunk_seconds=12)
    other = SeparateConfig(chunk_seconds=8)
    assert len({each.digest() for each in (unsaid, said, other)}) == 3
    assert other.what_matters()["chunk_seconds"] == 8
    # 8 s with the hop unsaid is not 8 s with a hop of 6 s.
    assert other.digest() != SeparateConfig(chunk_seconds=8, hop_seconds=6).digest()


def test_stems_that_are_the_default_are_in_no_key() -> None:
    for config in (SelectConfig(), EvaluateConfig()):
        assert "stems" not in config.what_matters()
        two = config.override(['stems=["vocals", "rest"]'])
        assert two.what_matters()["stems"] == ["vocals", "rest"]
    assert "assignment" not in EvaluateConfig().what_matters()
    tuned = recipes.finetune_smoke()
    assert "stems" not in tuned.what_matters()["data"]
    assert "level_n_fft" not in tuned.what_matters()["objective"]
    assert "start" not in tuned.what_matters()

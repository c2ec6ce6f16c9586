from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from storage.errors import ConfigError, DataError
from storage.home.runs import Job
from storage.shards.reader import ShardReader
from training.config import TrainConfig
from training.data.clips.source import HeldOutPairs, TrainingPairs, split_tracks
from training.data.clips.source import open_sources as sources_of
from training.engine.loading import request_of


def open_sources(
    index: Path, recipe: TrainConfig, limit: int = 8
) -> tuple[TrainingPairs, HeldOutPairs]:
    job = Job(verb="train", inputs={"index": str(index)}, recipe={})
    recipe = recipe.override(
        ["loop.seed=1", f"loop.validation_batches={limit}", "data.batch_size=1"]
    )
    training, held_out = sources_of(job, request_of(recipe))
    assert isinstance(training, TrainingPairs)
    assert isinstance(held_out, HeldOutPairs)
    return training, held_out


def test_epochs_differ_and_examples_repeat(index: Path, mixit: TrainConfig) -> None:
    training, _ = open_sources(index, mixit)
    again, _ = open_sources(index, mixit)
    first = [training.pair(number) for number in range(len(training))]
    second = [training.pair(number) for number in range(len(training), 2 * len(training))]
    assert first != second
    for number in (0, 13, 5, 0):
        one, other = training.example(number), again.example(number)
        assert np.array_equal(one.parts, other.parts)
        assert np.array_equal(one.gains_db, other.gains_db)


def test_ratios_lie_within_five_decibels_and_spread(index: Path, mixit: TrainConfig) -> None:
    training, _ = open_sources(index, mixit)
    examples = [training.example(number) for number in range(60)]
    parts = torch.from_numpy(np.stack([example.parts for example in examples]))
    gains = torch.from_numpy(np.stack([example.gains_db for example in examples]))
    mixed = training.mix(parts, gains).references
    power = mixed.square().mean((2, 3))
    ratio = 10 * torch.log10(power[:, 0] / power[:, 1])
    assert mixed.shape == (60, 2, 2, 4000)
    assert ratio.abs().max() <= 5.001
    assert ratio.std() > 1.5


def test_validation_is_fixed_and_of_other_tracks(index: Path, mixit: TrainConfig) -> None:
    training, held_out = open_sources(index, mixit)
    tracks = [
        {clip.track for number in range(len(source)) for clip in source.pair(number)}
        for source in (training, held_out)
    ]
    assert len(tracks[1]) >= 2
    assert not tracks[0] & tracks[1]
    assert np.array_equal(held_out.example(1).parts, held_out.example(1).parts)
    assert len(open_sources(index, mixit, limit=2)[1]) == 2


def split(index: Path, share: float) -> list[set[str]]:
    """Return the names of the tracks of either side."""
    reader = ShardReader(index)
    sides = split_tracks(reader.clips, share, seed=0)
    for side in sides:
        assert sorted(set(side.tolist())) == side.tolist()
    return [{reader.clip(clip).track for clip in side.tolist()} for side in sides]


def test_the_archives_own_split_decides(make_index: Callable[..., Path]) -> None:
    splits = {f"{n:06d}": "training" for n in range(4)} | {"000010": "test"}
    splits |= {"000011": "validation", "000012": "validation"}
    training, held_out = split(make_index(splits, clips_each=2), 0.5)
    assert held_out == {"000011", "000012"}
    assert training == {f"{n:06d}" for n in range(4)}


def test_one_named_validation_track_gets_company(make_index: Callable[..., Path]) -> None:
    splits = {f"{n:06d}": "training" for n in range(4)} | {"000011": "validation"}
    training, held_out = split(make_index(splits, clips_each=1), 0.05)
    assert len(held_out) == 2
    assert len(training) == 3
    assert "000011" in held_out


def test_who_is_held_out_does_not_depend_on_how_tracks_are_packed(
    make_index: Callable[..., Path],
) -> None:
    names = [f"{n:06d}" for n in range(8)]
    there = split(make_index(dict.fromkeys(names, "training")), 0.3)
    assert there == split(make_index(dict.fromkeys(reversed(names), "training")), 0.3)


def test_three_tracks_are_too_few(make_index: Callable[..., Path], mixit: TrainConfig) -> None:
    index = make_index({f"{n:06d}": "training" for n in range(3)})
    with pytest.raises(DataError, match=r"1 tracks for training.*at least 4.*add music"):
        open_sources(index, mixit)


def test_silent_crops_are_drawn_again(index: Path, mixit: TrainConfig) -> None:
    training, _ = open_sources(index, mixit)
    reader, starts = training._reader, []

    def read(number: int, start: int = 0, frames: int = -1) -> np.ndarray:
        starts.append(start)
        return np.full((2, frames), 0.1 if len(starts) == 4 else 0.0, np.float32)

    reader.read = read  # type: ignore[method-assign]
    crop = training._crop(0, np.random.default_rng(0))
    assert len(starts) == 4
    assert crop.max() > 0
    starts[:] = [0] * 4
    assert training._crop(0, np.random.default_rng(0)).max() == 0
    assert len(starts) == 4 + 10


def test_what_does_not_suit_the_clips_is_refused(index: Path, mixit: TrainConfig) -> None:
    for setting, said in (
        ("data.segment_seconds=6", "segment_seconds to 1 or less"),
        ("model.sample_rate=16000", "set model.sample_rate=8000"),
        ("model.audio_channels=1", "audio_channels"),
    ):
        with pytest.raises(ConfigError, match=said):
            open_sources(index, mixit.override([setting]))

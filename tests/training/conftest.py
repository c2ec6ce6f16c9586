"""Tiny corpora at 8 kHz: shards of clips, songs with stems, and recipes small enough for tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from storage.audio.waveforms import Waveform, encode
from storage.home.runs import Job, Run
from storage.manifests import write_rows
from storage.records import STEMS, ActiveWindows, StemSong
from storage.shards.writer import ClipStart, Sample, ShardWriter
from tests.shards import Form
from tests.shards import write_index as write_shard_index
from tests.synthesised import write_audio
from training.config import LoopConfig, TrainConfig
from training.data.clips.config import ClipsData
from training.data.stems.config import StemsData
from training.models.bs_locoformer.config import BsLocoformerConfig
from training.objectives.mixit.config import MixitObjective
from training.objectives.supervised.config import SupervisedObjective
from training.settings.runtime import RuntimeConfig
from training.settings.schedules import ExponentialSchedule

RATE = 8_000
MODEL = BsLocoformerConfig(
    outputs=4, blocks=1, width=8, hidden=8, kernel=4, heads=2, groups=2,
    sample_rate=RATE, n_fft=256, hop=64,
)  # fmt: skip
MIXIT = TrainConfig(  # losses measure levels by the model's own transform
    model=MODEL,
    data=ClipsData(batch_size=4, segment_seconds=0.5, validation_share=0.3),
    objective=MixitObjective(level_n_fft=256, level_hop=64),
    schedule=ExponentialSchedule(warmup_steps=2, hold_steps=3, decay=0.9, decay_every=1),
    loop=LoopConfig(
        steps=6,
        validate_every=3,
        validation_batches=1,
        checkpoint_every=2,
        log_every=2,
        keep_best=2,
    ),
    # Pictures cost more than such a run.
    runtime=RuntimeConfig(device="cpu", threads=1, snapshot_every=0),
)
SUPERVISED = MIXIT.model_copy(
    update={
        "data": StemsData(batch_size=4, segment_seconds=0.5),
        "objective": SupervisedObjective(level_n_fft=256, level_hop=64),
    }
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def mixit() -> TrainConfig:
    return MIXIT


@pytest.fixture
def supervised() -> TrainConfig:
    return SUPERVISED


def tone(seed: int, seconds: float, pitch: float) -> Waveform:
    """Return [2, T]: a few partials and a little noise, never silent."""
    draw = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    sound = sum(
        draw.uniform(0.05, 0.1) * np.sin(2 * np.pi * pitch * partial * time + draw.uniform(0, 6))
        for partial in (1, 2, 3)
    )
    both = np.stack([sound, sound * 0.7]) + 0.003 * draw.standard_normal((2, len(time)))
    return both.astype(np.float32)


def write_index(
    root: Path, splits: dict[str, str], clips_each: int = 3, seconds: float = 1.0
) -> Path:
    """Write a corpus of clips, some per track, in shards of about two clips; return its index."""
    form = Form(RATE, round(seconds * RATE))
    writer = ShardWriter(lambda number: root / "shards" / f"0000-{number:02d}.tar", 40_000, "flac")
    for number, (track, split) in enumerate(splits.items()):
        for clip in range(clips_each):
            sound = tone(100 * number + clip, seconds, 80 + 53 * number)
            sample = Sample.of(f"t{track}_c{clip:04d}", encode(sound, RATE), {"track": track})
            writer.add(track, split, [sample], [ClipStart(sample.key, 0)])
    return write_shard_index(root / "index.json", writer.close(), form)


def write_songs(home: Path, seconds: dict[str, float], names: tuple[str, ...] = STEMS) -> Path:
    """Write songs named <split><number>; return songs.jsonl, with activity.jsonl beside it."""
    songs, windows = [], []
    for number, (name, length) in enumerate(seconds.items()):
        folder = home / "songs" / name
        stems = {
            stem: tone(10 * number + place, length, 60 * 2**place + 7 * number)
            for place, stem in enumerate(names)
        }
        for stem, sound in (*stems.items(), ("mixture", sum(stems.values()))):
            write_audio(folder / f"{stem}.wav", np.asarray(sound), RATE, "FLOAT")
        split: Any = name.rstrip("0123456789")
        frames = stems[names[0]].shape[1]
        songs.append(
            StemSong(
                name=name, split=split, folder=f"songs/{name}", frames=frames, sample_rate=RATE
            )
        )
        window = min(frames, round(0.8 * RATE))
        starts = tuple(range(0, frames - window + 1, window // 2))
        windows += [
            ActiveWindows(song=name, stem=stem, starts=starts, window=round(0.8 * RATE))
            for stem in names
        ]
    write_rows(home / "songs.jsonl", songs)
    write_rows(home / "activity.jsonl", windows)
    return home / "songs.jsonl"


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of eight training tracks of three one-second clips each."""
    splits = {f"{number:06d}": "training" for number in range(8)}
    return write_index(tmp_path_factory.mktemp("clips"), splits)


@pytest.fixture(scope="session")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """songs.jsonl of three songs to train on, two to validate with, two to test with."""
    lengths = {
        "train1": 2.0, "train2": 1.5, "train3": 0.4,
        "validation1": 1.7, "validation2": 0.3, "test1": 2.3, "test2": 0.3,
    }  # fmt: skip
    return write_songs(tmp_path_factory.mktemp("home"), lengths)


@pytest.fixture
def make_index(tmp_path: Path) -> Callable[..., Path]:
    """Write an index of other tracks: `make_index({"000001": "training"}, clips_each=2)`."""
    return lambda splits, **how: write_index(tmp_path / "corpus", splits, **how)


@pytest.fixture
def make_run(tmp_path: Path, index: Path, songs: Path) -> Callable[..., Run]:
    """Prepare a run: `make_run("name", "train", recipe, model=folder)`."""
    return maker_of_runs(tmp_path, index, songs)


def maker_of_runs(folder: Path, index: Path, songs: Path) -> Callable[..., Run]:
    """Return what prepares runs in a folder, also one that several tests share."""

    def make(name: str, verb: str, recipe: Any, **inputs: Path) -> Run:
        given = {
            "index": index, "songs": songs, "home": songs.parent,
            "activity": songs.parent / "activity.jsonl", **inputs,
        }  # fmt: skip
        run = Run(folder / name)
        plain = {key: str(value) for key, value in given.items()}
        run.prepare(
            Job.model_validate(
                {"verb": verb, "inputs": plain, "recipe": recipe.model_dump(mode="json")}
            )
        )
        return run

    return make

"""Windows of whole songs: pairs that are functions of seed and number, and train MixIT."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from storage.audio.waveforms import read_window
from storage.errors import ConfigError, DataError
from storage.home.runs import Job
from tests.training.conftest import RATE, write_songs
from tests.training.jobs.test_train import MakeRun, losses_of, weights
from training.config import TrainConfig
from training.data.batches import Sources
from training.data.stems.corpus import StemCorpus
from training.data.windows.config import WindowsData
from training.data.windows.source import HeldOutWindowPairs, WindowPairs, open_sources
from training.engine.loading import request_of
from training.engine.start import initial_model
from training.jobs.train import train

FRAMES = 4000


def corpus_of(songs: Path) -> StemCorpus:
    return StemCorpus.open(songs, songs.parent, RATE)


def pairs_of(songs: Path, seed: int = 1, gain_db: float = 0.0, split: str = "train") -> WindowPairs:
    corpus = corpus_of(songs)
    return WindowPairs(corpus, corpus.of(split), FRAMES, WindowsData(gain_db=gain_db), seed)


def test_an_example_is_a_function_of_seed_and_number(songs: Path) -> None:
    pairs, again = pairs_of(songs), pairs_of(songs)
    for number in (9, 3, 250, 9):
        one, other = pairs.example(number), again.example(number)
        assert np.array_equal(one.parts, other.parts)
        assert np.array_equal(one.gains_db, other.gains_db)
        assert pairs.keys(number) == again.keys(number)
    assert not np.array_equal(pairs.example(9).parts, pairs.example(10).parts)
    assert not np.array_equal(pairs.example(9).parts, pairs_of(songs, seed=2).example(9).parts)


def test_a_pair_is_windows_of_two_songs_mixtures(songs: Path) -> None:
    whole = {
        f"'{song.name}'": read_window(songs.parent / song.folder / "mixture.wav")
        for song in corpus_of(songs).of("train")
    }
    pairs, met = pairs_of(songs), Counter[str]()
    for number in range(60):
        parts, names = pairs.example(number).parts, pairs.keys(number)
        assert parts.shape == (2, 2, FRAMES)
        assert len(set(names)) == 2
        met.update(names)
        for part, name in zip(parts, names, strict=True):
            sound = whole[name]
            if sound.shape[-1] < FRAMES:
                # A song shorter than a window is read whole, then silence.
                assert np.array_equal(part[:, : sound.shape[-1]], sound)
                assert not part[:, sound.shape[-1] :].any()
            else:
                windows = np.lib.stride_tricks.sliding_window_view(sound[0], FRAMES)
                (start,) = np.flatnonzero((windows[:, :50] == part[0, :50]).all(1))
                assert np.array_equal(part, sound[:, start : start + FRAMES])
    assert met.keys() == whole.keys()
    # Songs are drawn by their length: of 2, 1.5 and 0.4 s, by 4, 3 and 1 windows.
    assert met["'train1'"] > met["'train3'"]
    assert (len(pairs), pairs.epoch()) == (4, {"songs": 3, "pairs": 4})


def test_ratios_of_power_are_drawn_within_the_bounds(songs: Path) -> None:
    pairs = pairs_of(songs, gain_db=3)
    examples = [pairs.example(number) for number in range(40)]
    batch = pairs.mix(
        torch.from_numpy(np.stack([each.parts for each in examples])),
        torch.from_numpy(np.stack([each.gains_db for each in examples])),
    )
    power = batch.references.square().mean((2, 3))
    ratio = 10 * torch.log10(power[:, 0] / power[:, 1])
    assert ratio.abs().max() <= 3.001
    assert ratio.std() > 1
    assert torch.equal(batch.inputs, batch.references.sum(1, keepdim=True))


def sources_of(songs: Path, recipe: TrainConfig) -> Sources:
    inputs = {"songs": str(songs), "home": str(songs.parent)}
    return open_sources(Job(verb="train", inputs=inputs, recipe={}), request_of(recipe))


def test_validation_is_fixed_and_of_other_songs(songs: Path, mixit: TrainConfig) -> None:
    recipe = mixit.override(["data.kind=windows", "loop.validation_batches=1"])
    training, held_out = sources_of(songs, recipe)
    assert isinstance(held_out, HeldOutWindowPairs)
    assert len(held_out) == 2, "four windows of 1.7 and 0.3 s, in pairs"
    for number in range(2):
        assert set(held_out.keys(number)) == {"'validation1'", "'validation2'"}
        assert all(name.startswith("'train") for name in training.keys(number))
    assert len(sources_of(songs, recipe.override(["data.batch_size=1"])).validation) == 1


def test_what_does_not_suit_the_windows_is_refused(
    songs: Path, mixit: TrainConfig, tmp_path: Path
) -> None:
    recipe = mixit.override(["data.kind=windows"])
    with pytest.raises(ConfigError, match=r"works at 16000 Hz.*at 8000 Hz"):
        sources_of(songs, recipe.override(["model.sample_rate=16000"]))
    few = write_songs(tmp_path, {"train1": 1.0, "validation1": 1.0, "validation2": 1.0})
    with pytest.raises(DataError, match=r"1 song\(s\) of the 'train' split.*add songs"):
        sources_of(few, recipe)


def test_mixit_trains_on_windows(make_run: MakeRun, mixit: TrainConfig) -> None:
    recipe = mixit.override(["data.kind=windows", "data.gain_db=2", "loop.steps=3"])
    run = make_run("windows", "train", recipe)
    before = initial_model(recipe, run.job()).state_dict()
    train(run)
    assert all(np.isfinite(losses_of(run)))
    after = weights(run)
    assert any(not torch.equal(before[name], after[name]) for name in before)

"""Whatever the stems: two, six, more outputs than stems, and outputs without names."""

from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from storage.audio.waveforms import read_window
from storage.errors import ConfigError
from storage.files import read_json
from storage.home.runs import Run
from storage.manifests import read_rows
from storage.records import SongScore
from tests.training.conftest import MODEL, write_songs
from training.checkpoints.channel_map import chosen_outputs
from training.checkpoints.weights import load_model, save_model
from training.config import EvaluateConfig, SelectConfig, SeparateConfig, TrainConfig
from training.inference.overlap_add import separate
from training.jobs.evaluate import evaluate, oracle_assignment
from training.jobs.select_channels import select
from training.jobs.train import train
from training.model_folder import stems_of
from training.models.separator import Separation, Separator, build

MakeRun = Callable[..., Run]
TWO = ("vocals", "rest")
SIX = ("vocals", "bass", "drums", "guitar", "piano", "other")
LENGTHS = {"train1": 1.0, "validation1": 1.0, "test1": 1.2, "test2": 0.6}
CONFIG = EvaluateConfig(separate=SeparateConfig(chunk_seconds=0.5), excerpt_seconds=0.5)


def si_sdr(reference_CT: Tensor, estimate_CT: Tensor) -> float:
    """Le Roux et al. (2019), eq. 2: the mean over channels, in dB."""
    found = []
    for reference, estimate in zip(reference_CT.double(), estimate_CT.double(), strict=True):
        target = (estimate @ reference) / (reference @ reference) * reference
        error = (estimate - target).square().sum()
        found.append(10 * float(torch.log10(target.square().sum() / error)))
    return sum(found) / len(found)


def brute_force(references: Tensor, estimates: Tensor) -> float:
    """Return the highest mean SI-SDR of all ways to give each reference an estimate of its own."""
    return max(
        sum(si_sdr(one, estimates[number]) for one, number in zip(references, order, strict=True))
        for order in permutations(range(len(estimates)), len(references))
    ) / len(references)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(0, 2), st.floats(0.1, 3), st.integers(0, 10_000))
def test_the_oracle_is_the_best_of_all_assignments(
    stems: int, more: int, leak: float, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    references = torch.randn(stems, 2, 300, generator=draw)
    estimates = torch.randn(stems + more, 2, 300, generator=draw) * leak
    order = torch.randperm(stems + more, generator=draw)[:stems]
    estimates[order] += references
    chosen = oracle_assignment(references, estimates)
    assert len(set(chosen)) == stems
    found = sum(
        si_sdr(one, estimates[number]) for one, number in zip(references, chosen, strict=True)
    ) / stems  # fmt: skip
    assert found == pytest.approx(brute_force(references, estimates), abs=1e-4)


def test_a_silent_stem_takes_what_is_left() -> None:
    references = torch.randn(3, 2, 400)
    references[1] = 0
    estimates = references[[2, 0, 1]] + 0.1 * torch.randn(3, 2, 400)
    assert oracle_assignment(references, estimates) == [1, 2, 0]


def prepared(make_run: MakeRun, songs: Path, name: str, config: object, **inputs: Path) -> Run:
    """Prepare a run on a corpus with other stems."""
    verbs = {"SelectConfig": "select", "EvaluateConfig": "evaluate", "TrainConfig": "train"}
    activity = songs.parent / "activity.jsonl"
    given = {"songs": songs, "home": songs.parent, "activity": activity, **inputs}
    return make_run(name, verbs[type(config).__name__], config, **given)


@pytest.mark.parametrize("stems", [TWO, SIX], ids=["two", "six"])
def test_other_stems_are_trained_chosen_and_scored_by_their_names(
    make_run: MakeRun, mixit: TrainConfig, supervised: TrainConfig, tmp_path: Path,
    stems: tuple[str, ...],
) -> None:  # fmt: skip
    songs = write_songs(tmp_path / "corpus", LENGTHS, stems)
    names = f"{list(stems)}".replace("'", '"')
    pretraining = make_run("pretrain", "train", mixit.override(["model.outputs=7", "loop.steps=1"]))
    train(pretraining)
    selection = SelectConfig(chunk_seconds=0.5, stems=stems)
    chosen = prepared(make_run, songs, "select", selection, model=pretraining.model)
    select(chosen)
    assert len(chosen_outputs(chosen.channels, stems)) == len(stems)

    recipe = supervised.override(
        [f"model.outputs={len(stems)}", f"data.stems={names}", "loop.steps=1"]
    )
    given = {"model": pretraining.model, "channels": chosen.channels}
    tuning = prepared(make_run, songs, "tune", recipe, **given)
    train(tuning)
    assert stems_of(tuning.model) == stems

    config = CONFIG.override([f"stems={names}"])
    run = prepared(make_run, songs, "evaluate", config, model=tuning.model)
    evaluate(run)
    rows = read_rows(run.scores, SongScore)
    assert [(row.song, row.stem) for row in rows] == [
        (song, stem) for song in ("test1", "test2") for stem in stems
    ]
    assert all(row.usdr is not None and row.residual == 0 for row in rows)
    excerpt = run.excerpts / read_json(run.excerpts / "excerpts.json")[0]["folder"]
    assert {path.stem for path in excerpt.iterdir()} == {
        "mixture", *stems, *(f"{stem}-reference" for stem in stems)
    }  # fmt: skip


def saved(folder: Path, outputs: int) -> Path:
    torch.manual_seed(0)
    model = build(MODEL.model_copy(update={"outputs": outputs}))
    save_model(folder, model.state_dict(), {"model": model.config.model_dump(mode="json")})
    return folder


def test_outputs_without_names_are_scored_by_the_oracle(make_run: MakeRun, tmp_path: Path) -> None:
    """Six outputs for two stems: the scores are the best that any choice of two could have."""
    songs = write_songs(tmp_path / "corpus", LENGTHS, TWO)
    model = saved(tmp_path / "model", 6)
    oracle = CONFIG.override(['stems=["vocals", "rest"]', "assignment=oracle"])
    run = prepared(make_run, songs, "oracle", oracle, model=model)
    evaluate(run)
    scores = read_rows(run.scores, SongScore)
    for song in ("test1", "test2"):
        mixture, *references = (
            torch.from_numpy(read_window(songs.parent / "songs" / song / f"{stem}.wav"))
            for stem in ("mixture", *TWO)
        )
        estimates = separate(load_model(model), mixture, oracle.separate)
        best = brute_force(torch.stack(references), estimates)
        ours = [row.si_sdr or 0.0 for row in scores if row.song == song]
        assert np.mean(ours) == pytest.approx(best, abs=1e-3)
    assert {(row.song, row.stem) for row in scores} == {
        (song, stem) for song in ("test1", "test2") for stem in TWO
    }


def test_outputs_that_do_not_fit_the_stems_are_refused(make_run: MakeRun, tmp_path: Path) -> None:
    songs = write_songs(tmp_path / "corpus", LENGTHS, TWO)
    three, one = saved(tmp_path / "three", 3), saved(tmp_path / "one", 1)
    named = CONFIG.override(['stems=["vocals", "rest"]'])
    with pytest.raises(ConfigError, match=r"has 3 outputs and evaluation\.stems names 2"):
        evaluate(prepared(make_run, songs, "three", named, model=three))
    with pytest.raises(ConfigError, match=r"has 1 outputs, fewer than the 2 of evaluation\.stems"):
        oracle = named.override(["assignment=oracle"])
        evaluate(prepared(make_run, songs, "one", oracle, model=one))


class Masked(Separator):
    """Shares the mixture out by fixed masks, and hands them on."""

    def forward(self, x_BICT: Tensor) -> Separation:
        masks_S = torch.tensor([0.75, 0.25])
        waveforms = x_BICT * masks_S.view(1, 2, 1, 1)
        return Separation(waveforms, {"masks": masks_S.expand(len(x_BICT), -1)})


def test_a_model_that_hands_masks_on_separates_like_any_other() -> None:
    model = Masked(MODEL.model_copy(update={"outputs": 2})).eval()
    song = torch.randn(2, 5_001)
    for config in (SeparateConfig(chunk_seconds=0.2), SeparateConfig(swap_channels=True)):
        stems = separate(model, song, config)
        assert stems.shape == (2, 2, 5_001)
        torch.testing.assert_close(stems, torch.stack([0.75 * song, 0.25 * song]))

from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from storage.errors import CheckpointError, ConfigError, DataError
from storage.home.runs import Run
from storage.records import STEMS, ChannelMap
from training.checkpoints.channel_map import read_map
from training.config import SelectConfig, TrainConfig
from training.data.stems.corpus import StemCorpus
from training.data.stems.source import StemSegments
from training.jobs.select_channels import choose, majority, select
from training.jobs.train import train
from training.models.bs_locoformer.config import BsLocoformerConfig

ORDER = (4, 0, 5, 2)
"""The outputs that play bass, drums, vocals and other."""


class Permuted(torch.nn.Module):
    """Knows the stems of the very segments it is asked about; outputs 1 and 3 are noise."""

    def __init__(self, segments: StemSegments, outputs: int = 6) -> None:
        super().__init__()
        self.config = BsLocoformerConfig(outputs=outputs, sample_rate=8000)
        self._stems = [torch.from_numpy(segments.stems(n)) for n in range(len(segments))]
        self.asked = 0
        self.noise = 0.01

    def forward(self, x_BICT: Tensor) -> Tensor:
        stems = next(s for s in self._stems if torch.equal(s.sum(0), x_BICT[0, 0]))
        self.asked += 1
        y = self.noise * torch.randn(1, self.config.outputs, *stems.shape[1:])
        for stem, output in zip(stems, ORDER, strict=True):
            y[0, output] += stem
        return y


def segments_of(songs: Path) -> StemSegments:
    corpus = StemCorpus.open(songs, songs.parent, 8000)
    return StemSegments(corpus, corpus.of("validation"), 4000)


def test_a_permutation_is_recovered(songs: Path) -> None:
    segments = segments_of(songs)
    chosen = choose(Permuted(segments), segments)  # type: ignore[arg-type]
    assert chosen.stems == STEMS
    assert chosen.channels == ORDER
    assert chosen.chunks == 4
    assert [row[output] for row, output in zip(chosen.votes, ORDER, strict=True)] == [4] * 4
    assert sum(sum(row) for row in chosen.votes) == 16


def test_no_error_at_all_is_a_finite_quality(songs: Path) -> None:
    segments = segments_of(songs)
    model = Permuted(segments)
    model.noise = 0.0
    assert choose(model, segments).channels == ORDER  # type: ignore[arg-type]


def test_silent_stems_have_no_vote(songs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segments = segments_of(songs)
    whole = segments.stems

    def muted(number: int) -> np.ndarray:
        stems = whole(number).copy()
        if number < 2:
            stems[1] *= 1e-4  # -80 dB
        if number == 3:
            stems[:] = 0
        return stems

    monkeypatch.setattr(segments, "stems", muted)
    model = Permuted(segments)
    chosen = choose(model, segments)  # type: ignore[arg-type]
    assert model.asked == chosen.chunks == 3
    assert sum(chosen.votes[1]) == 1
    assert chosen.channels == ORDER


def test_two_stems_never_share_an_output() -> None:
    votes = np.array([[9, 5, 0], [8, 0, 1]])
    assert majority(votes, np.zeros((2, 3))) == [1, 0]
    ties = np.array([[3, 3, 0], [0, 0, 0]])
    quality = np.array([[-1.0, -2.0, -9.0], [-5.0, -7.0, -1.0]])
    assert majority(ties, quality) == [0, 2]
    assert majority(np.array([[2, 3], [0, 0]]), np.array([[50.0, -50], [-50, -50]])) == [1, 0]
    for one in np.eye(2, dtype=int), np.eye(2, dtype=int)[::-1]:
        for stem in range(2):
            votes = one * np.eye(2, dtype=int)[:, [stem]]
            assert majority(votes, 1.0 - one) == np.argmax(one, 1).tolist(), "against quality"


@settings(max_examples=60, deadline=None)
@given(data=st.data(), stems=st.integers(1, 3), outputs=st.integers(3, 5))
def test_the_choice_has_the_most_votes_and_then_the_best_quality(
    data: st.DataObject, stems: int, outputs: int
) -> None:
    """Against every choice of distinct outputs; whatever the quality, no vote is outweighed."""
    shape = (stems, outputs)
    votes = data.draw(arrays(np.int64, shape, elements=st.integers(0, 3)))
    quality = data.draw(arrays(np.float64, shape, elements=st.integers(-200, 200)))
    rows = range(stems)

    def worth(choice: Sequence[int]) -> tuple[int, float]:
        return int(votes[rows, choice].sum()), float(quality[rows, choice].sum())

    chosen = majority(votes, quality)
    assert len(set(chosen)) == stems
    assert worth(chosen) == max(worth(one) for one in permutations(range(outputs), stems))


@pytest.mark.parametrize(("level_db", "votes"), [(-59.0, 4), (-61.0, 3)])
def test_a_stem_sounds_down_to_60_db_below_its_mixture(
    songs: Path, monkeypatch: pytest.MonkeyPatch, level_db: float, votes: int
) -> None:
    segments = segments_of(songs)
    whole = segments.stems

    def quiet(number: int) -> np.ndarray:
        stems = whole(number).copy()
        if number == 0:
            rest = stems[[0, 2, 3]].sum(0)
            stems[1] *= 10 ** (level_db / 20) * np.sqrt(np.sum(rest**2) / np.sum(stems[1] ** 2))
        return stems

    monkeypatch.setattr(segments, "stems", quiet)
    chosen = choose(Permuted(segments), segments)  # type: ignore[arg-type]
    assert sum(chosen.votes[1]) == votes


def test_what_cannot_be_chosen(songs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segments = segments_of(songs)
    with pytest.raises(ConfigError, match="has 3 outputs, but 4 stems"):
        choose(Permuted(segments, outputs=3), segments)  # type: ignore[arg-type]
    monkeypatch.setattr(segments, "stems", lambda number: np.zeros((4, 2, 4000), np.float32))
    with pytest.raises(DataError, match="no stem sounds"):
        choose(Permuted(segments), segments)  # type: ignore[arg-type]


def test_the_verb_leaves_a_map(
    make_run: Callable[..., Run], mixit: TrainConfig, tmp_path: Path
) -> None:
    pretraining = make_run("pretrain", "train", mixit.override(["model.outputs=5", "loop.steps=1"]))
    train(pretraining)
    run = make_run("select", "select", SelectConfig(chunk_seconds=0.5), model=pretraining.model)
    select(run)
    before = run.channels.read_bytes()
    assert isinstance(read_map(run.channels), ChannelMap)
    select(run)
    assert run.channels.read_bytes() == before
    with pytest.raises(CheckpointError, match="is no channel map"):
        read_map(tmp_path / "nothing.json")

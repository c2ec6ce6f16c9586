import json
from collections.abc import Callable

import numpy as np
import pytest
import torch

from storage.audio import read_window
from storage.files import read_json
from storage.manifests import read_rows
from storage.records import SongScore
from storage.runs import Run
from training import metrics
from training.config import STEMS, EvaluateConfig, SeparateConfig, TrainConfig
from training.evaluate import _museval as library_scores
from training.evaluate import evaluate, loudest_start, score
from training.train import train

CONFIG = EvaluateConfig(
    separate=SeparateConfig(chunk_seconds=1, hop_seconds=0.5), excerpt_seconds=0.5
)


def test_known_values() -> None:
    references = torch.randn(4, 2, 30_000)
    estimates = references * 0.9
    rows = list(score(references, estimates, references.sum(0), 8000))
    for number, row in enumerate(rows):
        assert row["usdr"] == pytest.approx(20, abs=1e-4)
        assert row["usdr_mdx21"] == pytest.approx(20, abs=1e-4)
        assert row["csdr"] == pytest.approx(20, abs=1e-4)
        rest = references.sum(0) / 4 - references[number]
        trivial = 10 * torch.log10(references[number].square().sum(-1) / rest.square().sum(-1))
        assert row["usdr_trivial"] == pytest.approx(trivial.mean().item(), abs=1e-4)


def test_what_is_undefined_is_none_and_never_nan() -> None:
    references = torch.randn(4, 2, 20_000)
    references[2] = 0
    rows = list(score(references, references * 0.5, references.sum(0), 8000))
    assert all(value is None for value in rows[2].values())
    assert rows[0]["usdr"] is not None
    assert rows[0]["csdr"] is None  # every frame has a silent stem
    json.dumps(rows, allow_nan=False)


def test_the_library_agrees_where_it_is_asked() -> None:
    references = torch.randn(2, 2, 8000, generator=torch.Generator().manual_seed(0))
    estimates = references + 0.1 * references.flip(0)
    theirs = library_scores(references, estimates, 4000)
    assert theirs == pytest.approx(metrics.csdr(references, estimates, 4000).tolist(), abs=1e-6)
    assert library_scores(torch.zeros(2, 2, 8000), estimates, 4000) == [None, None]


def test_the_excerpt_is_where_the_quietest_stem_is_loudest() -> None:
    references = torch.full((3, 2, 1000), 0.1)
    references[1] = 0
    references[1, :, 430:470] = 0.1
    references[2] = 0  # never sounds: it has no say
    assert loudest_start(references, 100, 50) == 400
    assert loudest_start(torch.zeros(3, 2, 1000), 100, 50) == 0
    assert loudest_start(references, 1000, 50) == 0


def test_the_verb_scores_every_stem_and_keeps_excerpts(
    make_run: Callable[..., Run], supervised: TrainConfig
) -> None:
    training = make_run("train", "train", supervised.override(["loop.steps=1"]))
    train(training)
    run = make_run("evaluate", "evaluate", CONFIG, model=training.model)
    evaluate(run)
    rows = read_rows(run.scores, SongScore)
    assert [(row.song, row.stem) for row in rows] == [
        (song, stem) for song in ("test1", "test2") for stem in STEMS
    ]
    assert all(row.usdr is not None and row.usdr_trivial is not None for row in rows)
    assert all(row.museval is None for row in rows)
    listed = read_json(run.excerpts / "excerpts.json")
    assert [each["song"] for each in listed] == ["test1", "test2"]
    folder = run.excerpts / listed[0]["folder"]
    names = {path.stem for path in folder.iterdir()}
    assert names == {"mixture", *STEMS, *(f"{stem}-reference" for stem in STEMS)}
    excerpt = read_window(folder / "mixture.flac")
    assert excerpt.shape == (2, 4000)
    references = sum(read_window(folder / f"{stem}-reference.flac") for stem in STEMS)
    assert np.allclose(references, excerpt, atol=1e-3)
    before = {name: path.read_bytes() for name, path in run.outputs().items()}
    evaluate(run)
    assert {name: path.read_bytes() for name, path in run.outputs().items()} == before

import json
import statistics
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from storage.audio.waveforms import read_window
from storage.errors import ConfigError, DataError, DecodeError
from storage.files import read_json
from storage.home.runs import Run
from storage.manifests import read_rows
from storage.records import STEMS, SongScore, StemSong
from tests.synthesised import write_audio
from tests.training.conftest import write_songs
from training.config import EvaluateConfig, SeparateConfig, TrainConfig
from training.data.stems.corpus import StemCorpus
from training.jobs.evaluate import Judged, evaluate, loudest_start, museval_frames, residual, score
from training.jobs.train import train
from training.scoring import metrics
from training.scoring.frame_scores import NAMES, by_museval, closed_form, write

CONFIG = EvaluateConfig(
    separate=SeparateConfig(chunk_seconds=1, hop_seconds=0.5), excerpt_seconds=0.5
)


def test_known_values() -> None:
    references = torch.randn(4, 2, 30_000)
    estimates = references * 0.9
    csdr = metrics.csdr(references, estimates, 8000)
    rows = list(score(references, estimates, references.sum(0), csdr.tolist()))
    for number, row in enumerate(rows):
        assert row["usdr"] == pytest.approx(20, abs=1e-4)
        assert row["usdr_mdx21"] == pytest.approx(20, abs=1e-4)
        assert row["csdr"] == pytest.approx(20, abs=1e-4)
        assert row["si_sdr"] is not None
        assert row["si_sdr"] > 100
        rest = references.sum(0) / 4 - references[number]
        trivial = 10 * torch.log10(references[number].square().sum(-1) / rest.square().sum(-1))
        assert row["usdr_trivial"] == pytest.approx(trivial.mean().item(), abs=1e-4)


def test_what_is_undefined_is_none_and_never_nan() -> None:
    references = torch.randn(4, 2, 20_000)
    references[2] = 0
    csdr = metrics.csdr(references, references * 0.5, 8000)
    rows = list(score(references, references * 0.5, references.sum(0), csdr.tolist()))
    assert all(value is None for value in rows[2].values())
    assert rows[0]["usdr"] is not None
    assert rows[0]["csdr"] is None  # every frame has a silent stem
    json.dumps(rows, allow_nan=False)


def test_the_library_agrees_where_it_is_asked() -> None:
    song = judged_song(8000)
    theirs = museval_frames(song, 4000)
    assert theirs
    ours = closed_form(song.references, song.estimates, 4000)
    np.testing.assert_allclose(theirs.values["SDR"], ours.values["SDR"], rtol=0, atol=1e-9)
    medians = metrics.csdr(song.references, song.estimates, 4000).tolist()
    assert theirs.medians() == pytest.approx(medians, abs=1e-9)
    song.references[0] = 0
    assert museval_frames(song, 4000) is None


def judged_song(samples: int, name: str = "a song") -> Judged:
    draw = torch.Generator().manual_seed(samples)
    references = torch.randn(2, 2, samples, generator=draw)
    record = StemSong(name=name, split="test", folder="x", frames=samples, sample_rate=4000)
    song = Judged(record, ("vocals", "drums"), references.sum(0))
    song.references, song.estimates = references, references + 0.1 * references.flip(0)
    return song


def test_sigseps_own_tools_read_the_frames(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what museval imports warns of its own future
        import museval  # noqa: PLC0415
    folder, store = tmp_path / "museval", museval.EvalStore()
    songs = [judged_song(4000 * number + 77, f"A - Song {number}.5") for number in (3, 5, 6)]
    for song in songs:
        song.estimates[0, :, :4000] = 0  # a frame without a score
        file = folder / "test" / f"{song.song.name}.json"
        song.judge(EvaluateConfig()).keep_frames(file, 1.0)
    store.add_eval_dir(folder)
    assert set(store.df.track) == {song.song.name for song in songs}
    assert set(store.df.metric) == set(NAMES)
    found = store.agg_frames_scores()
    for song in songs:
        for row in song.scores:
            assert found[song.song.name, row.stem, "SDR"] == pytest.approx(row.csdr, abs=1e-5)
    over_songs = statistics.median(song.scores[0].csdr or 0 for song in songs)
    assert store.agg_frames_tracks_scores()["vocals", "SDR"] == pytest.approx(over_songs, abs=1e-5)
    # Their schema asks for numbers, and their own NaN passes for one.
    for path in sorted((folder / "test").iterdir()):
        track = museval.TrackStore(path.stem)
        track.scores = json.loads(path.read_text())
        track.validate()


def test_what_is_written_is_what_museval_writes(tmp_path: Path) -> None:
    import museval  # noqa: PLC0415

    song = judged_song(9000)
    frames = by_museval(song.references, song.estimates, 4000)
    write(tmp_path / "ours.json", song.stems, frames)
    track = museval.TrackStore("a song")
    for number, stem in enumerate(song.stems):
        track.add_target(stem, {name: frames.values[name][number].tolist() for name in NAMES})
    assert json.loads((tmp_path / "ours.json").read_text()) == json.loads(track.json)


def test_a_mixture_that_is_not_its_stems_sum_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    song = judged_song(8000)
    assert residual(song.references, song.mixture) == 0
    song.judge(EvaluateConfig()).warn()
    assert not caplog.records
    song.mixture = song.mixture + 0.4 * song.mixture.flip(-1)
    assert residual(song.references, song.mixture) == pytest.approx(0.4, abs=0.05)
    song.judge(EvaluateConfig()).warn()
    assert "mixture of 'a song' is not its stems' sum" in caplog.text
    song.references[1] = 0
    song.judge(EvaluateConfig()).warn()
    assert "drums of 'a song' never sounds" in caplog.text
    assert residual(song.references, torch.zeros(2, 8000)) == 0


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
    assert all(row.si_sdr is not None and row.residual == 0 for row in rows)
    files = {path.name for path in (run.result / "museval" / "test").iterdir()}
    assert files == {"test1.json", "test2.json"}
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
    alone = make_run("alone", "evaluate", CONFIG.override(["workers=1"]), model=training.model)
    evaluate(alone)
    assert {name: path.read_bytes() for name, path in alone.outputs().items()} == before


def test_songs_with_missing_or_short_stems(
    make_run: Callable[..., Run], supervised: TrainConfig, tmp_path: Path
) -> None:
    training = make_run("train", "train", supervised.override(["loop.steps=1"]))
    train(training)
    songs = write_songs(tmp_path / "other", {"test1": 1.0, "train1": 1.0, "validation1": 1.0})
    run = make_run("missing", "evaluate", CONFIG, model=training.model, songs=songs)
    run.prepare(
        run.job().model_copy(update={"inputs": {**run.job().inputs, "home": str(songs.parent)}})
    )
    corpus = StemCorpus.open(songs, songs.parent, 8000)
    drums = songs.parent / "songs" / "test1" / "drums.wav"
    write_audio(drums, np.zeros((2, 5000), np.float32), 8000)
    with pytest.raises(DecodeError, match=r"drums\.wav ends at frame 5000, before 8000"):
        evaluate(run)
    drums.unlink()
    with pytest.raises(ConfigError, match=r"'test1' has no stem 'drums', but bass, other, voc"):
        evaluate(run)
    assert not run.scores.exists()
    with pytest.raises(ConfigError, match="model works at 44100 Hz, but 'test1'"):
        StemCorpus.open(songs, songs.parent, 44_100)
    with pytest.raises(DataError, match="none of the 2 songs is in the 'test' split"):
        replace(corpus, songs=corpus.songs[1:]).of("test")

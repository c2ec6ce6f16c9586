from pathlib import Path

import numpy as np
import pytest
import torch

from storage.errors import DataError
from storage.home.runs import Job
from storage.manifests import read_rows, write_rows
from storage.records import STEMS, ActiveWindows
from training.config import TrainConfig
from training.data.stems.config import StemsData
from training.data.stems.corpus import StemCorpus
from training.data.stems.source import DynamicMixes, StemSegments, open_sources
from training.engine.loading import request_of

FRAMES = 4000


def corpus_of(songs: Path) -> StemCorpus:
    return StemCorpus.open(songs, songs.parent, 8000)


def mixes_of(songs: Path, config: StemsData | None = None, frames: int = FRAMES) -> DynamicMixes:
    activity = songs.parent / "activity.jsonl"
    return DynamicMixes(corpus_of(songs), activity, config or StemsData(), frames, seed=1)


def test_examples_repeat_and_differ(songs: Path) -> None:
    mixes = mixes_of(songs)
    assert np.array_equal(mixes.example(9).parts, mixes_of(songs).example(9).parts)
    assert not np.array_equal(mixes.example(9).parts, mixes.example(10).parts)
    assert mixes.example(9).parts.shape == (4, 2, FRAMES)


def test_gains_and_drops_follow_the_settings(songs: Path) -> None:
    mixes = mixes_of(songs, StemsData(drop_probability=0.3), frames=800)
    examples = [mixes.example(number) for number in range(300)]
    dropped = np.stack([~example.parts.any(axis=(1, 2)) for example in examples])
    gains = np.stack([example.gains_db for example in examples])
    assert not dropped.all(axis=1).any()
    assert 0.2 < dropped.mean() < 0.37
    assert -10 <= gains.min() < -8 < 8 < gains.max() <= 10
    assert abs(gains.mean()) < 1


def test_even_certain_dropping_ends(songs: Path) -> None:
    assert not mixes_of(songs, StemsData(drop_probability=1)).example(0).parts.any()


def test_levels_after_mixing(songs: Path) -> None:
    mixes = mixes_of(songs, StemsData(drop_probability=0))
    example = mixes.example(3)
    mixed = mixes.mix(
        torch.from_numpy(example.parts)[None], torch.from_numpy(example.gains_db)[None]
    ).references
    level = 20 * torch.log10(mixed.abs().mean((-1, -2)))[0]
    assert torch.allclose(level, torch.from_numpy(example.gains_db), atol=1e-3)


def test_stems_come_from_windows_of_training_songs_and_share_one_crop(
    songs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def note(self: StemCorpus, song: object, stem: str, start: int, frames: int) -> np.ndarray:
        read.append((song.name, stem, start, frames))  # type: ignore[attr-defined]
        return np.ones((2, frames), np.float32)

    monkeypatch.setattr(StemCorpus, "read", note)
    mixes = mixes_of(songs, StemsData(drop_probability=0))
    starts = {
        (row.song, row.stem): row.starts
        for row in read_rows(songs.parent / "activity.jsonl", ActiveWindows)
    }
    seen = set()
    for number in range(40):
        read.clear()
        parts = mixes.example(number).parts
        assert [stem for _, stem, _, _ in read] == list(STEMS)
        offsets = set()
        for (song, stem, start, frames), part in zip(read, parts, strict=True):
            assert song.startswith("train")
            inside = [start - first for first in starts[song, stem] if 0 <= start - first <= 2400]
            assert inside
            # The song of 0.4 s is shorter than a segment: it is read whole, then silence.
            assert frames == (3200 if song == "train3" else FRAMES)
            assert part[0].sum() == frames
            if song != "train3":
                offsets.add(min(inside))
            seen.add(song)
        assert len(offsets) <= 2  # one crop for all, up to overlapping windows
    assert seen == {"train1", "train2", "train3"}


def test_segments_cut_whole_songs_and_pad_short_ones(songs: Path) -> None:
    corpus = corpus_of(songs)
    segments = StemSegments(corpus, corpus.of("validation"), FRAMES)
    assert len(segments) == 3 + 1
    whole = corpus.read_stems(corpus.of("validation")[0])
    assert np.array_equal(segments.example(1).parts, whole[..., FRAMES : 2 * FRAMES])
    short = segments.example(3)
    assert segments.stems(3).shape == (4, 2, 2400)
    assert short.parts.shape == (4, 2, FRAMES)
    assert not short.parts[..., 2400:].any()
    parts = torch.from_numpy(short.parts)[None]
    assert segments.mix(parts, torch.zeros(1, 4)).references is parts
    assert len(StemSegments(corpus, corpus.of("validation"), FRAMES, limit=2)) == 2


def test_a_stem_that_never_sounds_is_named(songs: Path, tmp_path: Path) -> None:
    corpus = corpus_of(songs)
    rows = [
        row for row in read_rows(songs.parent / "activity.jsonl", ActiveWindows)
        if row.stem != "vocals"
    ]  # fmt: skip
    write_rows(tmp_path / "activity.jsonl", rows)
    with pytest.raises(DataError, match="'vocals' is active in none of the 3"):
        DynamicMixes(corpus, tmp_path / "activity.jsonl", StemsData(), FRAMES, seed=0)


def test_the_epoch_is_told_beside_the_published_one(
    songs: Path, supervised: TrainConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    inputs = {"songs": songs, "activity": songs.parent / "activity.jsonl", "home": songs.parent}
    job = Job(verb="train", inputs={key: str(path) for key, path in inputs.items()}, recipe={})
    mixes, _ = open_sources(job, request_of(supervised.override(["data.batch_size=2"])))
    rows = read_rows(songs.parent / "activity.jsonl", ActiveWindows)
    each = {
        stem: sum(len(r.starts) for r in rows if r.stem == stem and r.song.startswith("train"))
        for stem in STEMS
    }
    assert mixes.epoch() == {
        "segments": each,
        "epoch_segments": min(each.values()),
        "epoch_steps": min(each.values()) // 2,
        "published_epoch_segments": [3513, 3544],
    }
    assert "published: 3513 to 3544" in caplog.text
    # Each of 8 processes takes an eighth, rounded up, in whole batches of 4.
    assert [-(-count // 8) // 4 for count in (3512, 3513, 3544, 3545)] == [109, 110, 110, 111]

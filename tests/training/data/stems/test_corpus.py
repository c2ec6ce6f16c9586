"""Songs at rest: their splits, windows of their sound, and what they lack."""

from pathlib import Path

import numpy as np
import pytest

from storage.errors import ConfigError, DataError, ManifestError
from storage.records import STEMS
from tests.training.conftest import RATE, write_songs
from training.data.stems.corpus import StemCorpus


def test_stems_come_in_the_order_asked_for(songs: Path) -> None:
    corpus = StemCorpus.open(songs, songs.parent, RATE)
    song = corpus.of("test")[0]
    whole = corpus.read_stems(song)
    assert whole.shape == (4, 2, song.frames)
    few = StemCorpus.open(songs, songs.parent, RATE, ("vocals", "bass"))
    assert np.array_equal(few.read_stems(song, 100, 50), whole[[2, 0], :, 100:150])
    np.testing.assert_allclose(whole.sum(0), corpus.read(song, "mixture"), atol=1e-6)
    assert [one.name for one in corpus.of("train")] == ["train1", "train2", "train3"]


def test_mixtures_alone_are_read_without_stems(tmp_path: Path) -> None:
    songs = write_songs(tmp_path, {"train1": 0.5}, ("vocals", "rest"))
    corpus = StemCorpus.open(songs, tmp_path, RATE, ())
    assert corpus.read(corpus.of("train")[0], "mixture").shape == (2, RATE // 2)


def test_what_songs_lack_is_named(songs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"works at 44100 Hz.*at 8000 Hz"):
        StemCorpus.open(songs, songs.parent, 44_100)
    with pytest.raises(
        ConfigError, match=r"'train1' has no stem 'rest', but bass, drums, other, voc"
    ):
        StemCorpus.open(songs, songs.parent, RATE, ("vocals", "rest"))
    with pytest.raises(ConfigError, match=r"but none in .*; name stems that the songs have"):
        StemCorpus.open(songs, tmp_path, RATE, STEMS)
    with pytest.raises(ManifestError, match=r"nowhere\.jsonl is missing"):
        StemCorpus.open(tmp_path / "nowhere.jsonl", tmp_path, RATE)
    corpus = StemCorpus.open(songs, songs.parent, RATE)
    only = tuple(song for song in corpus.songs if song.split == "test")
    with pytest.raises(DataError, match="none of the 2 songs is in the 'train' split"):
        StemCorpus(songs.parent, only).of("train")

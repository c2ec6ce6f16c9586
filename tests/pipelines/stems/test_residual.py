"""A mixture that is not its stems' sum is noticed, and by how much."""

from pathlib import Path

import numpy as np
import pytest

from pipelines.stems.residual import residual, residuals
from storage.errors import DecodeError
from storage.home.layout import Home
from storage.records import STEMS, StemSong
from tests.synthesised import RATE, Sound, musdb_song, write_audio


def write(folder: Path, song: dict[str, Sound], subtype: str = "PCM_16") -> Path:
    for part, sound in song.items():
        write_audio(folder / f"{part}.wav", sound, RATE, subtype)
    return folder


PARTS = ("mixture", *STEMS)


def song_in(folder: Path) -> StemSong:
    return StemSong(name=folder.name, split="test", folder=str(folder), frames=1, sample_rate=RATE)


def test_rounding_is_not_noticed_and_a_gain_is(tmp_path: Path) -> None:
    """A mixture at 0.8 of the sum differs by a quarter of itself."""
    song = musdb_song("Ada - First", 3.0)
    louder = {**song, "mixture": 0.8 * song["mixture"]}
    folders = {"plain": write(tmp_path / "a", song), "louder": write(tmp_path / "b", louder)}
    assert 0 < residual((folders["plain"], PARTS)) < 1e-3
    songs = [song_in(folder) for folder in folders.values()]
    assert residuals(Home(tmp_path), songs, 1) == {"b": pytest.approx(0.25, abs=1e-3)}
    assert residuals(Home(tmp_path), []) == {}


def test_silence_has_no_residual(tmp_path: Path) -> None:
    silence = np.zeros((2, 1000), np.float32)
    assert residual((write(tmp_path, dict.fromkeys(PARTS, silence)), PARTS)) == 0


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"a recording in .* cannot be read"):
        residual((tmp_path, PARTS))

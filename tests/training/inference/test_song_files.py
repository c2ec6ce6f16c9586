"""Songs to be separated: a damaged one keeps its length, and what it lost is reported."""

from pathlib import Path

import pytest

from tests.synthesised import RATE, as_file, good_mp3, holed, tune
from training.inference.song_files import read_song


def test_a_damaged_song_keeps_its_length_and_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    song = tmp_path / "song.mp3"
    song.write_bytes(holed(good_mp3()))
    assert read_song(song, tmp_path).frames == 22 * RATE
    assert "song.mp3 is damaged: silence fills 0." in caplog.text
    assert " s at 11.0 s" in caplog.text


def test_a_cut_song_is_as_long_as_what_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    song = tmp_path / "song.wav"
    data = as_file(tune(4.0), kind="WAV")
    song.write_bytes(data[: 44 + RATE * 4])
    assert read_song(song, tmp_path).frames == RATE
    assert "its last 3.00 s are missing, so that its stems last 1.00 s" in caplog.text


def test_a_whole_song_is_not_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    song = tmp_path / "song.mp3"
    song.write_bytes(good_mp3())
    assert read_song(song, tmp_path).frames == 22 * RATE
    assert not caplog.records

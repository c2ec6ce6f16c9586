"""Float WAVs as libsndfile reads them, and recordings read in blocks."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.stems.wave_files import Recording, wave_bytes, wave_file
from storage.audio import wav_headers
from storage.audio.stated_length import require_whole
from storage.errors import DecodeError
from tests.stem_archives import float_wave


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 3000), max_size=5))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int]
) -> None:
    path = tmp_path_factory.mktemp("wave") / "a.wav"
    rng = np.random.default_rng(len(lengths))
    blocks = [rng.normal(0, 2, (length, 2)).astype(np.float32) for length in lengths]
    with wave_file(path) as writer:
        for block in blocks:
            writer.write(block)
    whole = np.concatenate([np.zeros((0, 2), np.float32), *blocks])
    assert path.stat().st_size == wave_bytes(len(whole))
    info = soundfile.info(str(path))
    assert (info.frames, info.channels, info.samplerate) == (len(whole), 2, 44_100)
    assert (info.format, info.subtype) == ("WAV", "FLOAT")
    read, _ = soundfile.read(str(path), dtype="float32", always_2d=True)
    np.testing.assert_array_equal(read, whole)
    require_whole(path, "a.wav")


def test_nothing_is_left_of_a_wave_that_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), wave_file(tmp_path / "a.wav") as writer:
        writer.write(np.zeros((1 // 0, 2), np.float32))
    assert not list(tmp_path.iterdir())


def test_what_no_wave_can_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wav_headers, "LARGEST_BYTES", wave_bytes(100) + 7)
    with (
        pytest.raises(DecodeError, match="longer than 100 frames") as error,
        wave_file(tmp_path / "a.wav") as writer,
    ):
        writer.write(np.zeros((101, 2), np.float32))
    assert error.value.reason == "too_long"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=8), st.integers(0, 150_000))
def test_however_it_is_taken_it_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, takes: list[int], frames: int
) -> None:
    path = tmp_path_factory.mktemp("wave") / "a.wav"
    sound = np.random.default_rng(frames).normal(0, 0.1, (2, frames)).astype(np.float32)
    path.write_bytes(float_wave(sound))
    recording = Recording(path, "a.wav")
    taken = [recording.take(length) for length in takes]
    recording.close()
    whole = np.concatenate(taken)
    np.testing.assert_array_equal(whole, sound.T[: sum(takes)])
    assert len(whole) == min(frames, sum(takes))

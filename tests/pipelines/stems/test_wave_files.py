"""Float WAVs of our own making, beside another reader, and headers that promise too much."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.stems.wave_files import FRAME_BYTES, Recording, require_whole, wave_bytes, wave_file
from storage.errors import DecodeError
from tests.stem_archives import float_wave
from tests.synthesised import as_file, tune


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
    monkeypatch.setattr("pipelines.stems.wave_files.LONGEST", 100)
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


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "MP3"])
def test_whole_files_of_any_kind_pass(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(as_file(tune(0.2), kind=kind))
    require_whole(path, "a")


def test_a_header_of_unknown_length_passes_and_a_short_file_does_not(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    wave = float_wave(tune(0.2))
    path.write_bytes(b"RIFF" + struct.pack("<I", 0xFFFF_FFFF) + wave[8:])
    require_whole(path, "a.wav")
    path.write_bytes(wave[:-1])
    require_whole(path, "a.wav")
    path.write_bytes(wave[: -2 * FRAME_BYTES])
    with pytest.raises(DecodeError, match=r"a\.wav has .* of a promised") as error:
        require_whole(path, "a.wav")
    assert error.value.reason == "truncated"
    with pytest.raises(DecodeError, match="cannot be read"):
        require_whole(tmp_path / "b.wav", "b.wav")

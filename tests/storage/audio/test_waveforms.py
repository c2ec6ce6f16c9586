"""Waveforms at rest: exact to 16 bits, windows without the rest, clipping instead of wrapping."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.audio.waveforms import Codec, encode, probe, quantise, read_window
from storage.errors import DecodeError
from tests.synthesised import RATE, decoded, tune, write_audio


@pytest.mark.parametrize("codec", ["flac", "wav"])
def test_encoding_keeps_sixteen_bits(codec: Codec) -> None:
    sound = tune(0.3)
    back = decoded(encode(sound, RATE, codec))
    assert back.dtype == np.float32
    assert np.abs(back - sound).max() <= 1 / 32_767
    assert encode(sound, RATE, codec) == encode(sound, RATE, codec)


@pytest.mark.parametrize("codec", ["flac", "wav"])
def test_overshoot_is_clipped_not_wrapped(codec: Codec) -> None:
    sound = np.array([[1.5, -1.5, 1.0, -1.0] * 100] * 2, np.float32)
    back = decoded(encode(sound, RATE, codec))
    assert (np.sign(back) == np.sign(sound)).all()
    assert np.abs(back).min() > 0.999


def test_rounding_is_to_the_nearest_and_halves_to_even() -> None:
    steps = np.array([[-1.5, -0.5, 0.49, 0.5, 0.51, 1.5, 2.5, 32_767.5, 99_999.0, -99_999.0]])
    samples = quantise((steps / 32_768).astype(np.float32))
    assert samples.dtype == np.int16
    assert samples[:, 0].tolist() == [-2, 0, 0, 0, 1, 2, 2, 32_767, 32_767, -32_768]


def test_what_was_sixteen_bits_stays_as_it_is() -> None:
    exact = np.arange(-(1 << 15), 1 << 15, dtype=np.int16).reshape(-1, 2)
    waveform = (exact.T / np.float32(1 << 15)).astype(np.float32)
    np.testing.assert_array_equal(quantise(waveform), exact)


def test_a_higher_level_compresses_more() -> None:
    sizes = [len(encode(tune(2.0), RATE, "flac", level)) for level in (0, 4, 8)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[2]


@settings(max_examples=40, deadline=None)
@given(frames=st.integers(1, 3000), start=st.integers(0, 2999), channels=st.integers(1, 2))
def test_windows_are_slices(frames: int, start: int, channels: int) -> None:
    data, first = encode(tune(0.1, channels=channels), RATE), min(start, 4410 - frames)
    with tempfile.NamedTemporaryFile(suffix=".flac") as file:
        file.write(data)
        file.flush()
        window = read_window(Path(file.name), first, frames)
    np.testing.assert_array_equal(window, decoded(data)[:, first : first + frames])


def test_files_are_read_like_bytes(tmp_path: Path) -> None:
    sound = tune(0.2)
    path = tmp_path / "deep" / "sound.wav"
    write_audio(path, sound, RATE)
    assert probe(path) == (RATE, 2, 8820, "FLOAT")
    np.testing.assert_array_equal(read_window(path), sound)
    np.testing.assert_array_equal(read_window(path, 100, 50), sound[:, 100:150])


def test_bad_audio_is_named(tmp_path: Path) -> None:
    path = tmp_path / "text.wav"
    path.write_text("no music")
    for read in (probe, read_window):
        with pytest.raises(DecodeError, match=r"text\.wav is no readable audio"):
            read(path)
    short = tmp_path / "clip.flac"
    short.write_bytes(encode(tune(0.1), RATE))
    with pytest.raises(DecodeError, match=r"clip\.flac ends at frame 4410, before 5000"):
        read_window(short, 4000, 1000)

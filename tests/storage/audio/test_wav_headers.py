"""WAV headers beside libsndfile's, and headers that promise too much."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from storage.audio.wav_headers import (
    WavFormat,
    clear_peak_time,
    pcm_format,
    wav_file,
)
from storage.errors import DecodeError
from tests.synthesised import Sound, as_file, tune


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("frames", [0, 1, 1000])
def test_pcm_is_what_libsndfile_writes(channels: int, frames: int) -> None:
    rng = np.random.default_rng(frames)
    samples = rng.integers(-(2**15), 2**15, (frames, channels)).astype(np.int16)
    theirs = io.BytesIO()
    soundfile.write(theirs, samples, 32_000, "PCM_16", format="WAV")
    ours = wav_file([samples[:300], samples[300:]], 32_000)
    assert ours == theirs.getvalue()
    assert pcm_format(ours[:44]) == WavFormat(32_000, channels, "PCM_16")


@pytest.mark.parametrize("channels", [1, 2])
def test_libsndfile_reads_float(channels: int) -> None:
    form = WavFormat(48_000, channels, "FLOAT")
    sound = np.random.default_rng(0).normal(0, 3, (777, channels)).astype(np.float32)
    data = form.header(777) + sound.astype("<f4").tobytes()
    assert len(data) == form.file_bytes(777)
    read, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    assert rate == 48_000
    np.testing.assert_array_equal(read, sound)
    with pytest.raises(DecodeError, match="no 16-bit WAV"):
        pcm_format(data[:44])


def test_a_wav_holds_what_32_bits_can_count() -> None:
    form = WavFormat(44_100, 2, "FLOAT")
    assert form.most_frames == (2**32 - 1 - 58) // 8
    form.header(form.most_frames)
    with pytest.raises(struct.error):
        form.header(form.most_frames + 8)


def test_the_time_of_day_is_cleared(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tune(0.1).T, 44_100, "FLOAT", format="WAV")
    before = path.read_bytes()
    position = before.index(b"PEAK") + 12
    assert before[position : position + 4] != bytes(4)
    clear_peak_time(path)
    assert path.read_bytes() == before[:position] + bytes(4) + before[position + 4 :]
    for without in (as_file(tune(0.1), kind="WAV"), rf64(tune(0.1))):
        path.write_bytes(without)
        clear_peak_time(path)
        assert path.read_bytes() == without


def rf64(sound: Sound) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, sound.T, 44_100, "FLOAT", format="RF64")
    return buffer.getvalue()

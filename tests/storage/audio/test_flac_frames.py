"""FLAC by pieces: whatever frames are put together, every decoder hears exactly their sound."""

import io

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.audio.flac_frames import FlacEncoder, Frame, frame_samples, joined
from storage.audio.wav_headers import Samples
from storage.audio.waveforms import quantise
from tests.synthesised import RATE, tune

LOW = 1000
"""Hz: frames of a second, so that a file of many is small."""


def noise(frames: int, channels: int, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    loud = rng.integers(-(1 << 15), 1 << 15, (frames, channels))
    samples: Samples = (loud * rng.choice([0.0, 0.01, 1.0], (frames, 1))).astype(np.int16)
    return samples


def by_libsndfile(data: bytes) -> Samples:
    samples: Samples = soundfile.read(io.BytesIO(data), dtype="int16", always_2d=True)[0]
    return samples


def by_ffmpeg(data: bytes) -> Samples:
    """Decode with every checksum verified: a wrong one is an error."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.audio[0]
        stream.codec_context.options = {"err_detect": "crccheck+explode"}
        parts = [frame.to_ndarray() for frame in container.decode(stream)]
        channels = stream.codec_context.layout.nb_channels
    return np.concatenate([part.reshape(-1, channels) for part in parts])


@pytest.mark.parametrize(("rate", "size"), [(44_100, 4410), (48_000, 4000), (1000, 1000)])
def test_frames_divide_a_second(rate: int, size: int) -> None:
    assert frame_samples(rate) == size
    assert rate % size == 0


@settings(max_examples=25, deadline=None)
@given(
    order=st.lists(st.integers(0, 5), min_size=1, max_size=12),
    channels=st.integers(1, 2),
    level=st.sampled_from([0, 4, 8]),
)
def test_any_frames_in_any_order_are_a_file(order: list[int], channels: int, level: int) -> None:
    sound = noise(6 * LOW, channels)
    frames = FlacEncoder(LOW, channels, level).encode(sound)
    data = joined([frames[number] for number in order], LOW, channels)
    expected = np.concatenate([sound[number * LOW : (number + 1) * LOW] for number in order])
    np.testing.assert_array_equal(by_libsndfile(data), expected)
    np.testing.assert_array_equal(by_ffmpeg(data), expected)


@pytest.mark.parametrize("count", [1, 127, 128, 2047, 2048, 2100])
def test_numbers_of_every_length(count: int) -> None:
    """Frames 128 and 2048 are the first whose numbers take another byte, read and written."""
    sound = noise(count * LOW, 1)
    encoder = FlacEncoder(LOW, 1, 0)
    frames = encoder.encode(sound)
    np.testing.assert_array_equal(by_ffmpeg(joined(frames, LOW, 1)), sound)
    np.testing.assert_array_equal(by_libsndfile(joined(frames[-1:], LOW, 1)), sound[-LOW:])


@given(st.integers(1000, 100_000) | st.sampled_from([11_025, 22_050, 44_100, 88_200, 176_400]))
def test_a_frame_is_the_largest_that_divides_a_second(rate: int) -> None:
    """Between 16 and 4608 samples, as the format has it; where none does, a second."""
    fitting = [size for size in range(1, rate + 1) if rate % size == 0 and 16 <= size <= 4608]
    assert frame_samples(rate) == max(fitting, default=rate)


def crc(data: bytes, polynomial: int, bits: int) -> int:
    """Divide bit by bit, as RFC 9639 says it: highest bit first, from zero."""
    value = 0
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value <<= 1
            if value >> bits:
                value ^= 1 << bits | polynomial
    return value


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.sampled_from([1, 2, 3, 7, 8, 15, 63, 64, 127, 300]), min_size=1),
    first=st.sampled_from([0, 5, 127, 128, 2047, 70_000]),
    seed=st.integers(0, 99),
)
def test_checksums_are_those_of_the_bytes(lengths: list[int], first: int, seed: int) -> None:
    """Of frames of any length, whose header was a shorter or a longer one before."""
    draw = np.random.default_rng(seed)
    bodies = [draw.bytes(length) for length in lengths]
    form = b"\xff\xf8\x69\x08"
    frames = []
    for number, body in enumerate(bodies, first):
        header = form + chr(number).encode()
        header += bytes([crc(header, 0x07, 8)])
        frames.append(Frame(form, b"", body, crc(header + body, 0x8005, 16),
                            crc(header, 0x8005, 16)))  # fmt: skip
    data = joined(frames, LOW, 1)
    sizes = []
    for number, body in reversed(list(enumerate(bodies))):
        header = form + chr(number).encode()
        frame = header + bytes([crc(header, 0x07, 8)]) + body
        expected = frame + crc(frame, 0x8005, 16).to_bytes(2, "big")
        assert data.endswith(expected)
        data = data[: -len(expected)]
        sizes.append(len(expected))
    # The stream's header says the shortest and the longest frame, in bytes.
    assert len(data) == 42
    assert data[12:15] == min(sizes).to_bytes(3, "big")
    assert data[15:18] == max(sizes).to_bytes(3, "big")


def test_sound_is_encoded_alike_wherever_it_stands() -> None:
    sound = quantise(tune(1.0))
    encoder = FlacEncoder(RATE, 2, 4)
    first, again = encoder.encode(sound), encoder.encode(sound)
    assert joined(first, RATE, 2) == joined(again, RATE, 2)
    assert joined(FlacEncoder(RATE, 2, 4).encode(sound), RATE, 2) == joined(again, RATE, 2)


def test_files_can_be_sought_and_say_what_they_are() -> None:
    sound = quantise(tune(3.0))
    data = joined(FlacEncoder(RATE, 2, 4).encode(sound), RATE, 2)
    with soundfile.SoundFile(io.BytesIO(data)) as stream:
        assert (stream.frames, stream.samplerate, stream.subtype) == (3 * RATE, RATE, "PCM_16")
        for start in (0, 4409, 4410, 70_001, 3 * RATE - 10):
            stream.seek(start)
            np.testing.assert_array_equal(stream.read(10, dtype="int16"), sound[start : start + 10])


def test_a_higher_level_is_smaller() -> None:
    sound = quantise(tune(5.0))
    sizes = [len(joined(FlacEncoder(RATE, 2, n).encode(sound), RATE, 2)) for n in (0, 4, 8)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[2]
    own = io.BytesIO()
    soundfile.write(own, sound, RATE, format="FLAC", subtype="PCM_16")
    assert sizes[1] < 1.05 * len(own.getvalue())

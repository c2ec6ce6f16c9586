"""One sample's audio -> a window of its waveform, as cheaply as is exact."""

import io
from typing import Protocol

import numpy as np
import soundfile

from storage.audio.waveforms import Codec, Waveform
from storage.errors import DecodeError

FULL_SCALE = np.float32(1 << 15)
WAV_HEADER = 44
"""Bytes before the samples in what soundfile writes as 16-bit WAV."""


class SampleForm(Protocol):
    """What all samples of a corpus have in common."""

    @property
    def codec(self) -> Codec:
        """FLAC or WAV, 16 bits either way."""
        ...

    @property
    def sample_rate(self) -> int:
        """Hz."""
        ...

    @property
    def sample_frames(self) -> int:
        """Frames of each."""
        ...


def decode_sample(audio: bytes | memoryview, form: SampleForm, start: int, stop: int) -> Waveform:
    """Return frames `start` to `stop` of a sample as float32 [channels, frames].

    Raises:
        DecodeError: the bytes are no audio, or of another rate or length than `form` says.
    """
    if form.codec == "wav":
        return _plain(audio, form, start, stop)
    try:
        with soundfile.SoundFile(io.BytesIO(audio)) as stream:
            _require(form, stream.samplerate, stream.frames)
            stream.seek(start)
            frames = stream.read(stop - start, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise DecodeError(f"no readable audio: {error}") from error
    if len(frames) != stop - start:
        raise DecodeError(f"its sound ends at frame {start + len(frames)}, before {stop}")
    waveform: Waveform = frames.T
    return waveform


def _plain(audio: bytes | memoryview, form: SampleForm, start: int, stop: int) -> Waveform:
    """Read 16-bit WAV as it lies there: eight times as fast as a library that takes any WAV."""
    head = bytes(audio[:WAV_HEADER])
    channels = int.from_bytes(head[22:24], "little")
    kind, bits = head[20:22], int.from_bytes(head[34:36], "little")
    if (head[:4], head[8:16], head[36:40], kind, bits) != (
        b"RIFF", b"WAVEfmt ", b"data", b"\x01\x00", 16,
    ) or not channels:  # fmt: skip
        raise DecodeError("no 16-bit WAV as shards hold it")
    frames, rest = divmod(len(audio) - WAV_HEADER, 2 * channels)
    _require(form, int.from_bytes(head[24:28], "little"), frames if not rest else -1)
    sound = np.frombuffer(audio, "<i2", offset=WAV_HEADER).reshape(frames, channels)
    waveform: Waveform = np.divide(sound[start:stop].T, FULL_SCALE, dtype=np.float32)
    return waveform


def _require(form: SampleForm, sample_rate: int, frames: int) -> None:
    if (sample_rate, frames) != (form.sample_rate, form.sample_frames):
        raise DecodeError(
            f"{frames} frames at {sample_rate} Hz, not {form.sample_frames} at {form.sample_rate}"
        )

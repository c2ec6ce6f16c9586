"""One sample's audio -> a window of its waveform, as cheaply as is exact."""

import io
from typing import Protocol

import numpy as np
import soundfile

from storage.audio.wav_headers import PCM_HEADER_BYTES, pcm_format
from storage.audio.waveforms import Codec, Waveform
from storage.errors import DecodeError

FULL_SCALE = np.float32(1 << 15)


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
    """Read 16-bit WAV without a library: eight times as fast as a library that takes any WAV."""
    found = pcm_format(bytes(audio[:PCM_HEADER_BYTES]))
    frames, rest = divmod(len(audio) - PCM_HEADER_BYTES, found.frame_bytes)
    _require(form, found.sample_rate, frames if not rest else -1)
    samples = np.frombuffer(audio, "<i2", offset=PCM_HEADER_BYTES)
    sound = samples.reshape(frames, found.channels)
    waveform: Waveform = np.divide(sound[start:stop].T, FULL_SCALE, dtype=np.float32)
    return waveform


def _require(form: SampleForm, sample_rate: int, frames: int) -> None:
    if (sample_rate, frames) != (form.sample_rate, form.sample_frames):
        raise DecodeError(
            f"{frames} frames at {sample_rate} Hz, not {form.sample_frames} at {form.sample_rate}"
        )

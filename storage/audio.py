"""Waveforms at rest: encode, and read a window without reading the rest.

A waveform is float32 of shape [channels, frames], full scale at ±1.
"""

import io
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile

from storage.errors import DecodeError

Waveform = npt.NDArray[np.float32]
Codec = Literal["flac", "wav"]


class AudioInfo(NamedTuple):
    """What a file's header promises."""

    sample_rate: int
    channels: int
    frames: int
    subtype: str


def probe(path: Path) -> AudioInfo:
    """Read a file's header; raise `DecodeError` that names the file if it has none."""
    try:
        info = soundfile.info(str(path))
    except (soundfile.LibsndfileError, OSError) as error:
        raise DecodeError(f"{path} is no readable audio file ({error})") from error
    return AudioInfo(info.samplerate, info.channels, info.frames, info.subtype)


def encode(waveform: Waveform, sample_rate: int, codec: Codec = "flac") -> bytes:
    """Return [channels, frames] as 16-bit FLAC or WAV bytes; the same input gives the same bytes.

    Samples beyond full scale are clipped, never wrapped.
    """
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform.T, sample_rate, subtype="PCM_16", format=codec.upper())
    return buffer.getvalue()


def decode_window(data: bytes, name: str, start: int = 0, frames: int = -1) -> Waveform:
    """Decode a window of FLAC or WAV bytes to [channels, frames]; -1 reads to the end.

    Raises:
        DecodeError: the bytes are no audio, or end before the window does.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as stream:
            return _window(stream, name, start, frames)
    except soundfile.LibsndfileError as error:
        raise DecodeError(f"{name} is no readable audio ({error})") from error


def read_window(path: Path, start: int = 0, frames: int = -1) -> Waveform:
    """Read a window of an audio file to [channels, frames]; -1 reads to the end.

    Raises:
        DecodeError: the file is no audio, or ends before the window does.
    """
    try:
        with soundfile.SoundFile(str(path)) as stream:
            return _window(stream, str(path), start, frames)
    except (soundfile.LibsndfileError, OSError) as error:
        raise DecodeError(f"{path} is no readable audio ({error})") from error


def write_audio(path: Path, waveform: Waveform, sample_rate: int, subtype: str = "FLOAT") -> None:
    """Write [channels, frames] in the format of the path's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(str(path), waveform.T, sample_rate, subtype=subtype)


def _window(stream: soundfile.SoundFile, name: str, start: int, frames: int) -> Waveform:
    stream.seek(start)
    waveform: Waveform = stream.read(frames, dtype="float32", always_2d=True).T
    if frames >= 0 and waveform.shape[1] != frames:
        raise DecodeError(
            f"{name} ends at frame {start + waveform.shape[1]}, before {start + frames}; "
            "it is shorter than its manifest says, so build it again"
        )
    return waveform

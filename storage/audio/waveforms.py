"""Stored waveforms: encode, and read a window without reading the rest.

A waveform is float32 of shape [channels, frames], full scale at ±1.
"""

import io
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile

from storage.audio.wav_headers import Samples, wav_file
from storage.errors import DecodeError
from storage.names.spelling import library_path, printable

Waveform = npt.NDArray[np.float32]
Codec = Literal["flac", "wav"]
FULL_SCALE = 1 << 15


class AudioInfo(NamedTuple):
    """What a file's header promises."""

    sample_rate: int
    channels: int
    frames: int
    subtype: str


def probe(path: Path) -> AudioInfo:
    """Read a file's header; raise `DecodeError` that names the file if it has none."""
    try:
        info = soundfile.info(library_path(path))
    except (soundfile.LibsndfileError, OSError) as error:
        raise DecodeError(f"{printable(path)} is no readable audio file ({error})") from error
    return AudioInfo(info.samplerate, info.channels, info.frames, info.subtype)


def quantise(waveform: Waveform) -> Samples:
    """Return [channels, frames] as int16 [frames, channels]: round(32768 x), halves to even.

    What is beyond full scale is clipped, never wrapped. Decoders divide by 32768, so nothing is
    biased but the clipped.
    """
    scaled = np.multiply(waveform.T, np.float32(FULL_SCALE), order="C")
    np.rint(scaled, out=scaled)
    np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1, out=scaled)
    return scaled.astype(np.int16)


def encode(
    waveform: Waveform, sample_rate: int, codec: Codec = "flac", compression: int = 4
) -> bytes:
    """Return [channels, frames] as 16-bit FLAC or WAV bytes; the same input gives the same bytes.

    `compression` is FLAC's, from 0 (fastest) to 8 (smallest). Samples are rounded by `quantise`.
    """
    samples = quantise(waveform)
    if codec == "wav":
        return wav_file([samples], sample_rate)
    buffer = io.BytesIO()
    level = compression / 8
    soundfile.write(buffer, samples, sample_rate, "PCM_16", format="FLAC", compression_level=level)
    return buffer.getvalue()


def read_window(path: Path, start: int = 0, frames: int = -1) -> Waveform:
    """Read a window of an audio file to [channels, frames]; -1 reads to the end.

    Raises:
        DecodeError: the file is no audio, or ends before the window does.
    """
    try:
        with soundfile.SoundFile(library_path(path)) as stream:
            stream.seek(start)
            waveform: Waveform = stream.read(frames, dtype="float32", always_2d=True).T
    except (soundfile.LibsndfileError, OSError) as error:
        raise DecodeError(f"{printable(path)} is no readable audio file ({error})") from error
    if frames >= 0 and waveform.shape[1] != frames:
        raise DecodeError(
            f"{printable(path)} ends at frame {start + waveform.shape[1]}, before "
            f"{start + frames}; it is shorter than its manifest says, so build it again"
        )
    return waveform

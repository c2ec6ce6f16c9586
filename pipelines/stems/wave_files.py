"""Recordings of any rate as a stream of stereo blocks, and float WAVs with reproducible bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import soundfile
import soxr

from pipelines.config import CHANNELS, SAMPLE_RATE
from storage.audio.stated_length import require_whole
from storage.audio.wav_headers import WavFormat
from storage.audio.waveforms import Waveform
from storage.errors import DecodeError
from storage.files import arriving
from storage.names.spelling import library_path

BLOCK = 1 << 16
"""Frames read at a time."""
FORMAT = WavFormat(SAMPLE_RATE, CHANNELS, "FLOAT")
"""Of the stems that are written here. A WAV holds 3.4 hours of it."""


class Recording:
    """An audio file, read as 44.1 kHz stereo from its beginning to its end.

    Mono becomes two equal channels; another rate is resampled (soxr HQ). `name` is what errors
    call it.

    Raises:
        DecodeError: it is no audio, has more than two channels, or its header promises more bytes
            than there are.
    """

    def __init__(self, path: Path, name: str) -> None:
        require_whole(path, name)
        self._name, self._ended = name, False
        try:
            self._file = soundfile.SoundFile(library_path(path))
        except (soundfile.LibsndfileError, OSError) as error:
            raise DecodeError(f"{name} is no readable audio file", "unreadable") from error
        rate, channels = self._file.samplerate, self._file.channels
        if channels > CHANNELS:
            self.close()
            raise DecodeError(f"{name} has {channels} channels, not 1 or 2", "format")
        self._resampler = (
            soxr.ResampleStream(rate, SAMPLE_RATE, channels, "float32", "HQ")
            if rate != SAMPLE_RATE
            else None
        )
        self._ahead: Waveform = np.zeros((0, CHANNELS), np.float32)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def take(self, frames: int) -> Waveform:
        """Return the next [frames, 2]; fewer come only at the end, and none after it.

        Raises:
            DecodeError: it cannot be decoded, or holds a sample that is no number.
        """
        pieces = [self._ahead]
        while not self._ended and sum(map(len, pieces)) < frames:
            pieces.append(self._next())
        whole = np.concatenate(pieces)
        self._ahead = whole[frames:]
        return whole[:frames]

    def _next(self) -> Waveform:
        try:
            block: Waveform = self._file.read(BLOCK, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, OSError) as error:
            raise DecodeError(f"{self._name} cannot be decoded to its end") from error
        if not np.isfinite(block).all():
            raise DecodeError(f"{self._name} holds samples that are no numbers", "non_finite")
        self._ended = len(block) < BLOCK
        if self._resampler:
            block = self._resampler.resample_chunk(block, last=self._ended)
        return np.repeat(block, CHANNELS, axis=1) if block.shape[1] == 1 else block


class WaveWriter:
    """Writes [frames, 2] blocks as a 44.1 kHz float WAV."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._frames = stream, 0
        stream.write(FORMAT.header(0))

    def write(self, block: Waveform) -> None:
        """Append a block; raise `DecodeError` if a WAV cannot hold so much."""
        self._frames += len(block)
        if self._frames > FORMAT.most_frames:
            raise DecodeError(f"the song is longer than {FORMAT.most_frames} frames", "too_long")
        self._stream.write(block.astype("<f4", copy=False).tobytes())

    def finish(self) -> None:
        """Write the header again, now that the length is known."""
        self._stream.seek(0)
        self._stream.write(FORMAT.header(self._frames))


@contextmanager
def wave_file(path: Path) -> Iterator[WaveWriter]:
    """Yield a writer of a float WAV that appears under `path` only when whole."""
    with arriving(path) as temporary, temporary.open("wb") as stream:
        writer = WaveWriter(stream)
        yield writer
        writer.finish()


def wave_bytes(frames: int) -> int:
    """Return the size of a written WAV."""
    return FORMAT.file_bytes(frames)

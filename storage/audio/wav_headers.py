"""WAV headers: written so that the same sound gives the same bytes, and read without a library.

libsndfile writes the time of day into each float WAV.
"""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from storage.errors import DecodeError

Samples = npt.NDArray[np.int16]
"""[frames, channels]."""

PCM_HEADER_BYTES = 44
LARGEST_BYTES = 2**32 - 1
"""Of a WAV file: its sizes have 32 bits. RF64 holds more."""
PEAK_WITHIN_BYTES = 200
"""Of a file written by libsndfile, within which its `PEAK` chunk begins."""


class WavFormat(NamedTuple):
    """What all frames of a WAV file have in common."""

    sample_rate: int
    channels: int
    sample_type: Literal["PCM_16", "FLOAT"]

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return self.channels * (2 if self.sample_type == "PCM_16" else 4)

    @property
    def most_frames(self) -> int:
        """Frames that a WAV of this format can hold."""
        return (LARGEST_BYTES - len(self.header(0))) // self.frame_bytes

    def file_bytes(self, frames: int) -> int:
        """Return the size of a file."""
        return len(self.header(0)) + frames * self.frame_bytes

    def header(self, frames: int) -> bytes:
        """Return all bytes before the samples: 44 for PCM, 58 for float."""
        size, rate, frame = frames * self.frame_bytes, self.sample_rate, self.frame_bytes
        bits = 8 * frame // self.channels
        code = 1 if self.sample_type == "PCM_16" else 3
        body = struct.pack("<HHIIHH", code, self.channels, rate, rate * frame, frame, bits)
        fact = b""
        if self.sample_type == "FLOAT":
            # Formats other than PCM state that no extension follows, and their frames.
            body += struct.pack("<H", 0)
            fact = b"fact" + struct.pack("<II", 4, frames)
        chunks = b"WAVEfmt " + struct.pack("<I", len(body)) + body + fact
        chunks += b"data" + struct.pack("<I", size)
        return b"RIFF" + struct.pack("<I", len(chunks) + size) + chunks


def wav_file(parts: Sequence[Samples], sample_rate: int) -> bytes:
    """Return a 16-bit WAV file of [frames, channels] each, one after the other."""
    form = WavFormat(sample_rate, parts[0].shape[1], "PCM_16")
    data = [part.astype("<i2", copy=False).tobytes() for part in parts]
    return b"".join([form.header(sum(map(len, parts))), *data])


def pcm_format(head: bytes) -> WavFormat:
    """Read the header of a file that `wav_file` wrote.

    Raises:
        DecodeError: it is no such header.
    """
    channels = int.from_bytes(head[22:24], "little")
    kind, bits = head[20:22], int.from_bytes(head[34:36], "little")
    if (head[:4], head[8:16], head[36:40], kind, bits) != (
        b"RIFF", b"WAVEfmt ", b"data", b"\x01\x00", 16,
    ) or not channels:  # fmt: skip
        raise DecodeError("no 16-bit WAV as shards hold it")
    return WavFormat(int.from_bytes(head[24:28], "little"), channels, "PCM_16")


def clear_peak_time(path: Path) -> None:
    """Zero the time of day in a float WAV that libsndfile wrote; its other files have none."""
    with path.open("r+b") as stream:
        position = stream.read(PEAK_WITHIN_BYTES).find(b"PEAK")
        if position >= 0:
            stream.seek(position + 12)
            stream.write(bytes(4))

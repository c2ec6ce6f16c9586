"""FLAC by pieces: sound is encoded once, and files are put together from whole frames of it.

Clips overlap, so encoding each separately would do most of the work twice. A FLAC frame depends
on no other but for its number, which two checksums cover; both are linear, so a frame is given
another number without touching its sound (RFC 9639, sections 8 and 9).
"""

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import av
import numpy as np
import numpy.typing as npt

from storage.audio.wav_headers import Samples

LARGEST_FRAME = 4608
"""Samples: the most that the format's streamable subset allows at 44.1 and 48 kHz."""
HEADER_POLYNOMIAL, FRAME_POLYNOMIAL = 0x07, 0x8005
EXTRA_BYTES = {6: 1, 7: 2, 12: 1, 13: 2, 14: 2}
"""Bytes behind a frame's number, by the code of its block size (6, 7) or sample rate (12-14)."""


class Frame(NamedTuple):
    """One FLAC frame, taken apart around its number."""

    form: bytes
    """Four bytes of the header before the number."""
    extra: bytes
    """Those behind it, without the header's checksum."""
    body: bytes
    crc: int
    """Its checksum, as it was encoded."""
    header_crc: int
    """The part of it that stems from the header that it was encoded with."""


class FlacEncoder:
    """Encodes [frames, channels] of int16, in whole tenths of a second or so, to frames.

    The same sound gives the same frames wherever in a stream it stands.
    """

    def __init__(self, sample_rate: int, channels: int, compression: int) -> None:
        self.frame_samples = frame_samples(sample_rate)
        self._rate = sample_rate
        self._layout = "mono" if channels == 1 else "stereo"
        self._encoder = av.CodecContext.create("flac", "w")
        self._encoder.sample_rate = sample_rate
        self._encoder.layout = self._layout
        self._encoder.format = "s16"
        self._encoder.thread_count = 1
        self._encoder.options = {
            "compression_level": str(compression),
            "frame_size": str(self.frame_samples),
        }
        self._samples = 0

    def encode(self, samples: Samples) -> list[Frame]:
        """Return the frames of [frames, channels], a multiple of `frame_samples` long."""
        assert samples.shape[0] % self.frame_samples == 0
        sound = av.AudioFrame.from_ndarray(
            samples.reshape(1, -1), format="s16", layout=self._layout
        )
        sound.sample_rate, sound.pts = self._rate, self._samples
        self._samples += samples.shape[0]
        frames = [_parsed(bytes(packet)) for packet in self._encoder.encode(sound)]
        assert len(frames) * self.frame_samples == samples.shape[0]
        return frames


@cache
def frame_samples(sample_rate: int) -> int:
    """Return the largest frame that divides a second evenly: 4410 at 44.1 kHz, 4000 at 48 kHz."""
    fitting = (size for size in range(LARGEST_FRAME, 15, -1) if sample_rate % size == 0)
    return next(fitting, sample_rate)


def joined(frames: Sequence[Frame], sample_rate: int, channels: int) -> bytes:
    """Return a FLAC file of these frames, one or more, in this order, numbered from 0."""
    size = frame_samples(sample_rate)
    headers = [_header(frame.form, number, frame.extra) for number, frame in enumerate(frames)]
    change = [frame.header_crc ^ crc for frame, (_, crc) in zip(frames, headers, strict=True)]
    lengths = [len(frame.body) for frame in frames]
    behind = _after_zeros(np.array(change), np.array(lengths))
    sums = (behind ^ np.array([frame.crc for frame in frames])).astype(">u2").tobytes()
    sizes = [
        len(header) + len(frame.body) + 2
        for frame, (header, _) in zip(frames, headers, strict=True)
    ]
    parts = [_stream_header(size, sizes, sample_rate, channels)]
    for number, (frame, (header, _)) in enumerate(zip(frames, headers, strict=True)):
        parts += (header, frame.body, sums[2 * number : 2 * number + 2])
    return b"".join(parts)


def _stream_header(samples: int, sizes: Sequence[int], sample_rate: int, channels: int) -> bytes:
    """Return the marker and STREAMINFO of frames of these bytes; the MD5 is left unknown, as 0."""
    lengths = samples.to_bytes(2, "big") * 2
    extremes = min(sizes).to_bytes(3, "big") + max(sizes).to_bytes(3, "big")
    facts = sample_rate << 44 | (channels - 1) << 41 | 15 << 36 | samples * len(sizes)
    return b"fLaC\x80\x00\x00\x22" + lengths + extremes + facts.to_bytes(8, "big") + bytes(16)


def _parsed(data: bytes) -> Frame:
    count = max(1, 8 - (~data[4] & 0xFF).bit_length())
    end = 4 + count + sum(EXTRA_BYTES.get(code, 0) for code in _codes(data[2]))
    crc = int.from_bytes(data[-2:], "big")
    return Frame(data[:4], data[4 + count : end], data[end + 1 : -2], crc, _crc16(data[: end + 1]))


def _codes(byte: int) -> tuple[int, int]:
    """Return the codes of block size and sample rate; below 12 the latter has no bytes."""
    size, rate = byte >> 4, byte & 15
    return size if size in (6, 7) else 0, rate if rate >= 12 else 0


@lru_cache(4096)
def _header(form: bytes, number: int, extra: bytes) -> tuple[bytes, int]:
    """Return a frame's header and what the frame's checksum makes of it."""
    # Numbers are spelled as UTF-8 spells characters, surrogates too.
    header = form + chr(number).encode("utf-8", "surrogatepass") + extra
    header += bytes([crc8(header)])
    return header, _crc16(header)


def crc8(data: bytes) -> int:
    """Return a frame header's checksum; with its own last byte, a correct one's is 0."""
    table, value = _table(HEADER_POLYNOMIAL, 8), 0
    for byte in data:
        value = table[value ^ byte]
    return value


def _crc16(data: bytes) -> int:
    table, value = _table(FRAME_POLYNOMIAL, 16), 0
    for byte in data:
        value = (value << 8 & 0xFFFF) ^ table[value >> 8 ^ byte]
    return value


@cache
def _table(polynomial: int, bits: int) -> list[int]:
    """Return what each byte adds to a checksum, highest bit first."""
    top = 1 << (bits - 1)
    values = [byte << (bits - 8) for byte in range(256)]
    for _ in range(8):
        values = [(v << 1 ^ polynomial if v & top else v << 1) & (2 * top - 1) for v in values]
    return values


def _after_zeros(
    values: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return frame checksums after so many zero bytes more: products modulo the polynomial."""
    factors = _powers(int(lengths.max(initial=0)).bit_length())[lengths]
    product = np.zeros_like(factors)
    for bit in range(15, -1, -1):
        product = (product << 1) ^ ((product >> 15 & 1) * (1 << 16 | FRAME_POLYNOMIAL))
        product ^= (values >> bit & 1) * factors
    return product


@cache
def _powers(bits: int) -> npt.NDArray[np.int64]:
    """Return [2**bits]: the checksum that 1 becomes after so many zero bytes."""
    table, values = _table(FRAME_POLYNOMIAL, 16), [1]
    for _ in range((1 << bits) - 1):
        values.append((values[-1] << 8 & 0xFFFF) ^ table[values[-1] >> 8])
    return np.array(values, np.int64)

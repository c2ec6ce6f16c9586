"""AAC in ADTS and LOAS (ISO/IEC 13818-7, 14496-3), AC-3 and E-AC-3 (ETSI TS 102 366).

None of them says how long it is: FFmpeg's guess from the first packets' bit rate is not asked.
"""

import re
from functools import partial
from typing import NamedTuple

from storage.audio.decoding import Length
from storage.audio.walks.framed import Data, Framing, Header, Walked
from storage.audio.walks.parts import Bytes, Packets, Survey

AAC_RATES = (
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000,
    7350,
)  # fmt: skip
AAC_FRAMES = 1024
AC3_RATES = (48_000, 44_100, 32_000)
AC3_KBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
AC3_CHANNELS = (2, 1, 2, 3, 3, 4, 4, 5)
AC3_FRAMES = 1536
EAC3_BLOCKS = (1, 2, 3, 6)
BLOCK_FRAMES = 256
NEWEST_AC3, OLDEST_EAC3, NEWEST_EAC3 = 10, 11, 16
"""Values of `bsid`."""


class Adts:
    """AAC, each packet with a header of its own."""

    sync = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]")
    header_bytes = 7

    def __init__(self) -> None:
        self.known: dict[bytes, Header | None] = {}
        """None: four bytes do not say all."""

    def at(self, data: Data, position: int) -> Header | None:
        """Return the header of the packet that begins here, or None."""
        head = data[position : position + 7]
        if len(head) < 7 or head[0] != 255 or head[1] & 0xF6 != 0xF0:
            return None
        rate = head[2] >> 2 & 15
        length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        if rate >= len(AAC_RATES) or length < self.header_bytes:
            return None
        channels = (head[2] & 1) << 2 | head[3] >> 6
        frames = AAC_FRAMES * ((head[6] & 3) + 1)
        return Header(length, frames, (AAC_RATES[rate], channels, head[1], head[2] >> 6))


class Loas:
    """AAC in LATM: neither rate nor channels are outside of the packets."""

    sync = re.compile(rb"\x56[\xe0-\xff]")
    header_bytes = 3

    def __init__(self) -> None:
        self.known: dict[bytes, Header | None] = {}
        """None: four bytes do not say all."""

    def at(self, data: Data, position: int) -> Header | None:
        """Return the header of the packet that begins here, or None."""
        head = data[position : position + 3]
        if len(head) < 3 or head[0] != 0x56 or head[1] & 0xE0 != 0xE0:
            return None
        length = (head[1] & 31) << 8 | head[2]
        return Header(length + 3, AAC_FRAMES, (0,)) if length else None


class Ac3:
    """AC-3 and E-AC-3; substreams that depend on the first one are packets without time."""

    sync = re.compile(rb"\x0b\x77")
    header_bytes = 6

    def __init__(self) -> None:
        self.known: dict[bytes, Header | None] = {}
        """None: four bytes do not say all."""

    def at(self, data: Data, position: int) -> Header | None:
        """Return the header of the packet that begins here, or None."""
        head = data[position : position + 7]
        if len(head) < 7 or head[:2] != b"\x0b\x77":
            return None
        version = head[5] >> 3
        if version <= NEWEST_AC3:
            return _ac3(head)
        return _eac3(head) if OLDEST_EAC3 <= version <= NEWEST_EAC3 else None


def _ac3(head: bytes) -> Header | None:
    rate, size = head[4] >> 6, head[4] & 63
    if rate == 3 or size >= 2 * len(AC3_KBITS):
        return None
    bits = AC3_KBITS[size >> 1] * 1000
    words = bits * AC3_FRAMES // 16 // AC3_RATES[rate]
    # At 44.1 kHz packets come in two sizes.
    words += size & 1 if rate == 1 else 0
    return Header(2 * words, AC3_FRAMES, (AC3_RATES[rate], AC3_CHANNELS[head[6] >> 5], 0))


def _eac3(head: bytes) -> Header | None:
    kind, rate = head[2] >> 6, head[4] >> 6
    length = 2 * (((head[2] & 7) << 8 | head[3]) + 1)
    if kind == 3 or length < Ac3.header_bytes:
        return None
    half = head[4] >> 4 & 3
    if rate == 3 and half == 3:
        return None
    sample_rate = AC3_RATES[half] // 2 if rate == 3 else AC3_RATES[rate]
    blocks = EAC3_BLOCKS[3 if rate == 3 else half]
    return Header(length, BLOCK_FRAMES * blocks, (sample_rate, AC3_CHANNELS[head[4] >> 1 & 7], 1))


class Kind(NamedTuple):
    """A kind of stream, and what decodes it."""

    framing: Framing
    codecs: tuple[str, ...]
    """By the last value of a header's form, for those that have several."""


KINDS = (Kind(Adts(), ("aac",)), Kind(Loas(), ("aac_latm",)), Kind(Ac3(), ("ac3", "eac3")))


def survey_stream(file: Bytes, walked: Walked, kind: Kind) -> Survey:
    """Return the parts of a stream: each run of one form."""
    parts = []
    for run in walked.runs:
        lost = run.packets_lost()
        each = run.frames_each
        cut = walked.cut and run is walked.runs[-1]
        codec = kind.codecs[run.form[-1] if len(kind.codecs) > 1 else 0]
        count = len(run.starts) + sum(lost.values())
        parts.append(
            Packets(
                codec, partial(run.groups, file, lost), count * each, each, run.form[0], cut * each
            )
        )
    return Survey(tuple(parts), Length(), plain=False, stray_bytes=walked.stray_bytes)

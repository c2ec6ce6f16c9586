"""FFmpeg's decoders, given the packets that a walk found: each has its place in time."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import av
import numpy as np

from storage.audio.decoders.pour import Shape
from storage.audio.walks.parts import Packets
from storage.audio.waveforms import Waveform

LIBAVCODEC = ".".join(str(part) for part in av.library_versions["libavcodec"])
FFMPEG = f"av {av.__version__}/libavcodec {LIBAVCODEC}"
CHECKED = frozenset(("flac", "ac3", "eac3", "tta", "wavpack", "ape"))
"""Codecs whose every packet has a checksum; a packet with a wrong one is damaged."""
PROBED, PROBED_AT_MOST = 8, 256
"""Groups of packets that are decoded to learn a part's form, and up to how many if none decodes."""


@dataclass
class Tally:
    """What went wrong meanwhile."""

    errors: int = 0


@dataclass(frozen=True)
class Probe:
    """What a part turned out to be when some of it was decoded."""

    shape: Shape
    scale: float
    """Decoded frames in one of the walk's: 2 where a decoder doubles the rate (AAC with SBR)."""


def prepare(context: Any) -> None:
    """Let a decoder use one thread, and report packets whose checksums are wrong."""
    context.thread_count = 1
    if context.name in CHECKED:
        context.options = {"err_detect": "crccheck+explode"}


class PacketDecoder:
    """Decodes packets one by one to [channels, frames]."""

    def __init__(self, codec: str, extradata: bytes) -> None:
        self._context: Any = av.CodecContext.create(codec, "r")
        prepare(self._context)
        if extradata:
            self._context.extradata = extradata
        self._planar = av.AudioResampler(format="fltp")

    def decode(self, packet: bytes | None) -> list[tuple[Shape, Waveform]] | None:
        """Return the frames of a packet, or of the end; None where it does not decode."""
        try:
            frames = self._context.decode(av.Packet(packet) if packet is not None else None)
        except av.error.MemoryError:
            raise
        except av.error.EOFError:
            return []
        except av.error.FFmpegError:
            return None
        return [self._as_floats(frame) for frame in frames]

    def _as_floats(self, frame: Any) -> tuple[Shape, Waveform]:
        shape = Shape(frame.sample_rate, frame.layout.nb_channels)
        if frame.format.name != "fltp":
            (frame,) = self._planar.resample(frame)
        return shape, frame.to_ndarray().astype(np.float32, copy=False)


def probe(part: Packets) -> Probe | None:
    """Decode the beginning of a part to learn its form; None where none of it decodes."""
    decoder = PacketDecoder(part.codec, part.extradata)
    found: Probe | None = None
    for number, group in enumerate(islice(part.groups(), PROBED_AT_MOST)):
        for packet in group.packets:
            for shape, block in decoder.decode(packet) or ():
                scale = (
                    shape.sample_rate / part.rate if part.rate else (block.shape[1] / part.nominal)
                )
                found = Probe(shape, scale)
        if found and number >= PROBED:
            break
    return found


def packet_blocks(part: Packets, known: Probe, tally: Tally) -> Iterator[Waveform | int]:
    """Yield a part's sound, and the frames of each gap in it, in order."""
    events = _in_time(part, known, tally)
    skip = round(part.skip * known.scale)
    last = None if part.total is None else round(part.total * known.scale)
    clock = 0
    for event in events:
        frames = event if isinstance(event, int) else event.shape[1]
        first, stop = max(0, skip - clock), frames if last is None else min(frames, last - clock)
        clock += frames
        if first < stop:
            yield stop - first if isinstance(event, int) else event[:, first:stop]


def _in_time(part: Packets, known: Probe, tally: Tally) -> Iterator[Waveform | int]:
    """Yield the whole of what decodes, each group where its end says."""
    decoder = PacketDecoder(part.codec, part.extradata)
    clock, offset, anchored = 0, 0, part.anchored
    for group in part.groups():
        blocks = [
            block for packet in group.packets for block in _sound(decoder, packet, known, tally)
        ]
        frames = sum(block.shape[1] for block in blocks)
        if group.end is not None:
            begin = round(group.end * known.scale) - frames
            if not anchored and frames:
                anchored, offset = True, max(0, begin - clock)
            gap = begin - offset - clock
            if anchored and gap >= part.nominal * known.scale / 2:
                yield gap
                clock += gap
        yield from blocks
        clock += frames
    yield from _sound(decoder, None, known, tally)


def _sound(
    decoder: PacketDecoder, packet: bytes | None, known: Probe, tally: Tally
) -> list[Waveform]:
    """Return a packet's sound; what decodes to another form is damage."""
    found = decoder.decode(packet)
    if found is None:
        tally.errors += 1
        return []
    blocks = [block for shape, block in found if shape == known.shape]
    tally.errors += len(found) - len(blocks)
    return blocks

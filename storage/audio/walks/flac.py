"""FLAC (RFC 9639): frames are numbered, so that what is missing has an exact place and length."""

import re
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from storage.audio.decoding import Length
from storage.audio.flac_frames import crc8
from storage.audio.walks.parts import Bytes, Group, Packets, Survey
from storage.audio.walks.tags import sound_end

MARKER = b"fLaC"
STREAMINFO_BYTES = 34
FRAME = re.compile(rb"\xff[\xf8\xf9]")
LONGEST_HEADER = 16
SMALLEST_FRAME = 10
"""Bytes."""


class StreamInfo(NamedTuple):
    """What the file says of its stream."""

    data: bytes
    block: int
    """Frames of a usual block."""
    sample_rate: int
    channels: int
    total: int
    """Frames in all; 0 where the writer could not know."""


class Frame(NamedTuple):
    """One FLAC frame."""

    position: int
    start: int
    """Frame of the stream that it begins with."""
    frames: int


def survey_flac(file: Bytes, start: int) -> Survey | None:
    """Return the stream that begins here, and those that were joined to it; None if none does."""
    if file.data[start : start + 4] != MARKER:
        return None
    begins = [hit for hit in file.find(MARKER, start, file.size) if _streaminfo(file, hit)]
    if not begins:
        return None
    stop = sound_end(file, start)
    parts: list[Packets] = []
    promised, certain, plain, stray = 0, True, len(begins) == 1 and start == 0, 0
    for begin, end in zip(begins, [*begins[1:], stop], strict=True):
        info, first = _metadata(file, begin)
        frames, lost_bytes = _frames(file, first, end, info)
        part = _part(file, info, frames, end, first)
        lost_bytes += _behind(frames, end, info)
        parts.append(part)
        stray += lost_bytes
        promised += info.total
        certain &= info.total > 0
        plain &= not lost_bytes and _is_whole(frames) and info.total in (0, part.frames)
    only = parts[0]
    length = Length(promised, "exact" if certain else "estimated" if promised else "unknown")
    return Survey(tuple(parts), length, plain, only.frames, stray)


def _streaminfo(file: Bytes, position: int) -> StreamInfo | None:
    head = file.data[position + 4 : position + 8 + STREAMINFO_BYTES]
    if len(head) < 4 + STREAMINFO_BYTES or head[0] & 127 or head[1:4] != b"\0\0\x22":
        return None
    data = head[4:]
    facts = int.from_bytes(data[10:18], "big")
    rate, channels, total = facts >> 44, (facts >> 41 & 7) + 1, facts & ((1 << 36) - 1)
    block = int.from_bytes(data[2:4], "big")
    return StreamInfo(data, block, rate, channels, total) if rate and block else None


def _metadata(file: Bytes, position: int) -> tuple[StreamInfo, int]:
    """Return a stream's facts, and where its first frame should begin."""
    info = _streaminfo(file, position)
    assert info
    position += 4
    while True:
        head = file.data[position : position + 4]
        if len(head) < 4 or head[0] & 127 == 127:
            return info, position
        position += 4 + int.from_bytes(head[1:4], "big")
        if head[0] & 128:
            return info, position


def _frames(file: Bytes, first: int, stop: int, info: StreamInfo) -> tuple[list[Frame], int]:
    """Return the frames whose numbers go up as they should, and the bytes of the gaps."""
    found: list[Frame] = []
    candidates = _candidates(file, first, stop, info)
    held: Frame | None = next(candidates, None)
    gaps = max(0, min(held.position, stop) - first) if held else max(0, stop - first)
    while held is not None:
        following = next(candidates, None)
        expected = found[-1].start + found[-1].frames if found else held.start
        if held.start == expected or (held.start > expected and _leads_to(held, following, info)):
            if held.start > expected:
                gaps += SMALLEST_FRAME
            found.append(held)
        held = following
    return found, gaps


def _leads_to(frame: Frame, following: Frame | None, info: StreamInfo) -> bool:
    """Say whether a frame behind a gap is one: the next continues it, or it ends the stream."""
    end = frame.start + frame.frames
    return end == info.total or (following is not None and following.start == end)


def _candidates(file: Bytes, first: int, stop: int, info: StreamInfo) -> Iterator[Frame]:
    start = first
    while start < stop:
        end = min(start + (1 << 22), stop)
        for hit in FRAME.finditer(file.data, start, min(end + 1, stop)):
            frame = _header(file.data[hit.start() : hit.start() + LONGEST_HEADER], info)
            if frame and hit.start() < end:
                yield Frame(hit.start(), *frame)
        file.passed(end)
        start = end


def _header(head: bytes, info: StreamInfo) -> tuple[int, int] | None:
    """Return the first frame and the number of frames that a header states; None if it is none."""
    if len(head) < 6 or head[3] & 1 or head[3] >> 4 > 10 or head[3] >> 1 & 7 == 3:
        return None
    size, rate = head[2] >> 4, head[2] & 15
    if size == 0 or rate == 15:
        return None
    length = max(1, 8 - (~head[4] & 0xFF).bit_length())
    if length > 7 or (length == 1 and head[4] & 0x80):
        return None
    number = head[4] if length == 1 else head[4] & ((1 << (7 - length)) - 1)
    for byte in head[5 : 4 + length]:
        number = number << 6 | byte & 63
    at = 4 + length
    if size in (6, 7):
        frames = int.from_bytes(head[at : at + size - 5], "big") + 1
        at += size - 5
    else:
        frames = 192 if size == 1 else 576 << (size - 2) if size < 6 else 256 << (size - 8)
    at += {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if len(head) <= at or crc8(head[: at + 1]):
        return None
    return number if head[1] & 1 else number * info.block, frames


def _behind(frames: list[Frame], stop: int, info: StreamInfo) -> int:
    """Return the bytes behind the last frame that are more than the largest frame has."""
    largest = int.from_bytes(info.data[7:10], "big")
    return max(0, stop - frames[-1].position - largest) if frames and largest else 0


def _is_whole(frames: list[Frame]) -> bool:
    return bool(frames) and frames[0].start == 0


def _part(file: Bytes, info: StreamInfo, frames: list[Frame], stop: int, first: int) -> Packets:
    # What was cut out of a stream begins with a later frame; with bytes before it, some are lost.
    base = frames[0].start if frames and frames[0].position == first else 0
    end = frames[-1].start + frames[-1].frames - base if frames else 0
    return Packets(
        "flac", partial(_groups, file, frames, stop, base), end, 2, info.sample_rate,
        max(0, info.total - base - end), extradata=info.data,
    )  # fmt: skip


def _groups(file: Bytes, frames: list[Frame], stop: int, base: int) -> Iterator[Group]:
    # A file that is cut within its first frame has none.
    ends = [*(frame.position for frame in frames[1:]), stop] if frames else []
    for frame, end in zip(frames, ends, strict=True):
        file.passed(frame.position)
        packet = file.data[frame.position : end]
        yield Group((packet,), frame.start + frame.frames - base)

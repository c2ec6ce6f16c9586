"""Ogg (RFC 3533): pages with checksums and times; links of a chain follow each other.

libsndfile reads one link, and FFmpeg sets the clock right only a page behind a gap.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from storage.audio.decoding import Length
from storage.audio.walks.parts import Bytes, Group, Packets, Survey

MARKER = b"OggS"
HEADER_BYTES = 27
CONTINUED, FIRST, LAST = 1, 2, 4
NO_TIME = (1 << 64) - 1
OPUS_RATE = 48_000
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
MAGIC = {b"\x01vorbis": "vorbis", b"OpusHead": "opus", b"\x7fFLAC": "flac"}
SHORTEST = {"vorbis": 64, "opus": 120, "flac": 16}
"""Frames of the shortest packet, twice of which are a gap."""


class Page(NamedTuple):
    """One page of a stream."""

    position: int
    """Of its content."""
    flags: int
    time: int
    number: int
    sizes: bytes


@dataclass
class Link:
    """One stream of a chain."""

    serial: int
    codec: str
    pages: list[Page] = field(default_factory=list)


def survey_ogg(file: Bytes, start: int) -> Survey | None:
    """Return the links that begin here; None for other files, and for other streams in an Ogg."""
    if file.data[start : start + 4] != MARKER:
        return None
    links, stray = _links(file, start)
    links = [link for link in links if link.pages]
    parts = [part for part in map(partial(_part, file), links) if part]
    if not parts or len(parts) < len(links):
        return None
    ended = all(link.pages[-1].flags & LAST for link in links)
    in_order = all(b.number == a.number + 1 for link in links for a, b in pairwise(link.pages))
    plain = len(links) == 1 and start == 0 and not stray and ended and in_order
    promised = sum(part.frames for part in parts)
    length = Length(promised if ended else 0, "exact" if ended else "unknown")
    return Survey(tuple(parts), length, plain, stray_bytes=stray)


def _links(file: Bytes, start: int) -> tuple[list[Link], int]:
    """Return the streams of sound, one at a time, and the bytes that lie in no page."""
    links: list[Link] = []
    stray, position = 0, start
    while position < file.size:
        found = _page(file, position)
        if found is None:
            following = next(file.find(MARKER, position + 1, file.size), file.size)
            stray += following - position
            position = following
            continue
        serial, page = found
        position = page.position + sum(page.sizes)
        file.passed(position)
        link = links[-1] if links else None
        if page.flags & FIRST:
            codec = _codec(file.data[page.position : page.position + 8])
            if codec and (link is None or len(link.pages) > 1):
                links.append(Link(serial, codec, [page]))
        elif link and link.serial == serial:
            link.pages.append(page)
    return links, stray


def _page(file: Bytes, position: int) -> tuple[int, Page] | None:
    """Return a page and its stream's number; None unless its checksum is right."""
    head = file.data[position : position + HEADER_BYTES]
    if len(head) < HEADER_BYTES or head[:5] != MARKER + b"\0":
        return None
    content = position + HEADER_BYTES + head[26]
    sizes = file.data[position + HEADER_BYTES : content]
    whole = file.data[position : content + sum(sizes)]
    if len(whole) < HEADER_BYTES + len(sizes) + sum(sizes):
        return None
    if _checksum(whole[:22] + bytes(4) + whole[26:]) != int.from_bytes(head[22:26], "little"):
        return None
    time = int.from_bytes(head[6:14], "little")
    serial, number = (int.from_bytes(head[at : at + 4], "little") for at in (14, 18))
    return serial, Page(content, head[5], time, number, sizes)


def _checksum(data: bytes) -> int:
    """Return Ogg's CRC-32: zlib's with bits in the other order, and begun at 0."""
    mirrored = zlib.crc32(data.translate(REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(REVERSED), "big")


def _codec(head: bytes) -> str | None:
    return next((codec for magic, codec in MAGIC.items() if head.startswith(magic)), None)


def _part(file: Bytes, link: Link) -> Packets | None:
    """Return a link as a part; None if its headers are incomplete."""
    packets = _packets(file, link.pages)
    headers: list[bytes] = []
    wanted, first = 1, 0
    for number, (_, complete) in enumerate(packets):
        headers += complete
        if headers:
            wanted = _header_count(link.codec, headers[0])
        first = number + 1
        if len(headers) >= wanted:
            break
    if len(headers) < wanted or wanted == 0:
        return None
    rate, ahead, extradata = _facts(link.codec, headers)
    sound = link.pages[first:]
    times = [page.time for page in sound if page.time != NO_TIME]
    end = max(0, times[-1] - ahead) if times else 0
    in_step = not sound or sound[0].number == link.pages[first - 1].number + 1
    ended = bool(sound) and bool(sound[-1].flags & LAST)
    return Packets(
        link.codec, partial(_groups, file, sound, ahead), end, 2 * SHORTEST[link.codec], rate,
        total=end if ended else None, extradata=extradata, anchored=not in_step,
    )  # fmt: skip


def _header_count(codec: str, head: bytes) -> int:
    if codec == "flac":
        return int.from_bytes(head[7:9], "big") + 1
    return 3 if codec == "vorbis" else 2


def _facts(codec: str, headers: list[bytes]) -> tuple[int, int, bytes]:
    """Return the clock's rate, the frames by which it is ahead of the sound, and the extradata."""
    head = headers[0]
    if codec == "opus":
        return OPUS_RATE, int.from_bytes(head[10:12], "little"), head
    if codec == "flac":
        return int.from_bytes(head[27:30], "big") >> 4, 0, head[17:51]
    sizes = b"".join(b"\xff" * (len(one) // 255) + bytes([len(one) % 255]) for one in headers[:2])
    return int.from_bytes(head[12:16], "little"), 0, b"\2" + sizes + b"".join(headers[:3])


def _packets(file: Bytes, pages: list[Page]) -> Iterator[tuple[Page, list[bytes]]]:
    """Yield each page with the packets that it completes."""
    pending = b""
    expected = -1
    for page in pages:
        continues = bool(page.flags & CONTINUED)
        # What began on a page that was lost, or does not continue, has no beginning or no end.
        orphaned = continues and (page.number != expected or not pending)
        if not continues or page.number != expected:
            pending = b""
        complete, at = [], page.position
        for size in page.sizes:
            pending += file.data[at : at + size]
            at += size
            if size < 255:
                if not orphaned and pending:
                    complete.append(pending)
                pending, orphaned = b"", False
        expected = page.number + 1
        file.passed(page.position)
        yield page, complete


def _groups(file: Bytes, pages: list[Page], ahead: int) -> Iterator[Group]:
    for page, complete in _packets(file, pages):
        if complete:
            # No time: no packet ends on this page; where one does, the last one's end is meant.
            yield Group(tuple(complete), None if page.time == NO_TIME else page.time - ahead)

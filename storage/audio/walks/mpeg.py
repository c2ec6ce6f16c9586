"""MPEG audio, layers I to III, free format included (ISO/IEC 11172-3, 13818-3).

mutagen looks at the first packets only, and believes what their tag says of the rest.
"""

import re
from functools import partial
from typing import NamedTuple

from storage.audio.decoding import Certainty, Length
from storage.audio.walks.framed import Data, Header, Run, Walked
from storage.audio.walks.parts import Bytes, Packets, Part, Survey

VERSION_1 = 3
SAMPLE_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8000)}
"""Hz, by version: MPEG 1, 2 and 2.5."""
BITRATES = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""kbit/s, by whether it is MPEG 1, and the layer; 2 and 2.5 have one for layers II and III."""
CODECS = {1: "mp1float", 2: "mp2float", 3: "mp3float"}
LONGEST_FREE = 4096
"""Bytes of a packet in free format, in which the bit rate is not stated."""
DECODER_DELAY = 529
"""Frames by which a layer III decoder is late."""
LAYER_III = 3


class Fields(NamedTuple):
    """The four bytes that a packet begins with."""

    version: int
    layer: int
    bitrate: int
    """Index."""
    rate: int
    """Index."""
    padding: int
    channels: int


def _fields(head: bytes) -> Fields | None:
    if len(head) < 4 or head[0] != 255 or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or bitrate == 15 or rate == 3:
        return None
    return Fields(version, layer, bitrate, rate, head[2] >> 1 & 1, 1 if head[3] >> 6 == 3 else 2)


class MpegFraming:
    """How packets of MPEG audio begin."""

    # Bit rate 15 is none, so that long runs of 0xFF are passed at once.
    sync = re.compile(rb"\xff(?=[\xe2-\xff][\x00-\xef])")
    header_bytes = 4

    def __init__(self) -> None:
        self.free_bytes = 0
        """Of an unpadded packet in free format, once its size was found."""
        # A file has few different headers: looking them up is much faster than reading them.
        self.known: dict[bytes, Header | None] = {}

    def at(self, data: Data, position: int) -> Header | None:
        """Return the header of the packet that begins here, or None."""
        head = data[position : position + 4]
        if head not in self.known:
            self.known[head] = self._read(head)
        return self.known[head]

    def find_free_size(self, data: Data, position: int) -> bool:
        """Learn the size of packets in free format from the next ones; say whether it was found."""
        first = data[position : position + 4]
        fields = _fields(first)
        if fields is None or fields.bitrate:
            return False
        slot = 4 if fields.layer == 1 else 1
        near = data[position : position + 3 * LONGEST_FREE]
        alike = re.compile(re.escape(first[:2]) + b"[" + re.escape(_unpadded(first)) + b"]")
        for hit in alike.finditer(near, 24, LONGEST_FREE):
            size = hit.start() - fields.padding * slot
            second = _fields(near[hit.start() : hit.start() + 4])
            third = hit.start() + size + (second.padding * slot if second else 0)
            if second and second[:4] == fields[:4] and alike.match(near, third):
                self.free_bytes = size
                self.known.clear()
                return True
        return False

    def _read(self, head: bytes) -> Header | None:
        fields = _fields(head)
        if fields is None:
            return None
        sample_rate = SAMPLE_RATES[fields.version][fields.rate]
        first = fields.version == VERSION_1
        frames = 384 if fields.layer == 1 else 1152 if first or fields.layer == 2 else 576
        slot = 4 if fields.layer == 1 else 1
        if fields.bitrate:
            table = BITRATES[first, fields.layer if first or fields.layer == 1 else 2]
            bits = table[fields.bitrate - 1] * 1000
            length = bits * (frames // 8 // slot) // sample_rate * slot
        else:
            length = self.free_bytes
        form = (sample_rate, fields.channels, fields.layer, fields.version, fields.bitrate == 0)
        return Header(length + fields.padding * slot, frames, form) if length else None


def _unpadded(head: bytes) -> bytes:
    """Return the third byte of a header with padding and without."""
    return bytes([head[2] & ~2, head[2] | 2])


class _Tag(NamedTuple):
    """What the first packet of a file may say of all (Xing, Info and VBRI; LAME's extension)."""

    packets: int | None
    bytes: int | None
    delay: int
    padding: int


def survey_mpeg(file: Bytes, walked: Walked) -> Survey:
    """Return the parts of a stream: each run of a form, each of several files that were joined."""
    tagged = _tags(file, walked)
    parts: list[Part] = []
    promised, certain, agrees = 0, True, False
    for place, run in enumerate(walked.runs):
        numbers = sorted({0, *tagged.get(place, {})})
        for number, following in zip(numbers, [*numbers[1:], len(run.starts)], strict=True):
            piece = _slice(run, number, following)
            last = place == len(walked.runs) - 1 and following == len(run.starts)
            tag = tagged.get(place, {}).get(number)
            part, length, agrees = _part(file, piece, tag, last and walked.cut)
            parts.append(part)
            promised += length.frames
            certain &= length.certainty == "exact"
    first = parts[0]
    assert isinstance(first, Packets)
    form = walked.runs[0].form
    # Only libsndfile's decoder knows packets in free format.
    free = bool(form[-1]) and not walked.runs[0].gaps
    alone = len(parts) == 1 and not walked.stray_bytes and not walked.cut
    plain = alone and form[2] == LAYER_III and (agrees or free)
    frames = (first.frames if first.total is None else first.total) - first.skip
    certainty: Certainty = "exact" if certain else "estimated" if promised else "unknown"
    return Survey(tuple(parts), Length(promised, certainty), plain, frames, walked.stray_bytes)


def _slice(run: Run, first: int, stop: int) -> Run:
    if (first, stop) == (0, len(run.starts)):
        return run
    gaps = [
        gap._replace(packet=gap.packet - first) for gap in run.gaps if first < gap.packet < stop
    ]
    return Run(run.form, run.frames_each, run.starts[first:stop], run.stops[first:stop], gaps)


def _part(file: Bytes, run: Run, tag: _Tag | None, cut: bool) -> tuple[Packets, Length, bool]:
    """Return a part, the length that its tag promises, and whether the two agree."""
    each, first = run.frames_each, 1 if tag else 0
    lost = run.packets_lost()
    there = len(run.starts) - first
    missing = 1 if cut else 0
    length, agrees = Length(), False
    skip = trim = 0
    if tag:
        skip = tag.delay + DECODER_DELAY if tag.delay else 0
        trim = max(0, tag.padding - DECODER_DELAY) if tag.delay else 0
    if tag and tag.packets is not None:
        deficit = tag.packets - there
        # Some encoders count the packet that holds the tag.
        agrees = deficit in (0, 1) and not lost and not cut
        exact = deficit in (0, 1) or (
            deficit > 0 and (_accounts(lost, deficit) or not _ends(run, tag))
        )
        length = Length(tag.packets * each - skip - trim, "exact" if exact else "estimated")
        if exact:
            missing = _shared(lost, deficit if deficit > 1 or lost or cut else 0)
    passed = there + sum(lost.values())
    whole = agrees or (length.certainty == "exact" and not missing)
    total = passed * each - trim if whole else None
    part = Packets(
        CODECS[run.form[2]], partial(run.groups, file, lost, first), passed * each, each,
        run.form[0], missing * each, skip, total,
    )  # fmt: skip
    return part, length, agrees


def _ends(run: Run, tag: _Tag) -> bool:
    """Say whether the file is as long as its tag says in bytes, so that only its count is wrong."""
    there = run.stops[-1] - run.starts[0]
    return tag.bytes is not None and tag.bytes <= there + (run.stops[-1] - run.starts[-1])


def _accounts(lost: dict[int, int], deficit: int) -> bool:
    """Say whether the gaps are about as long as an exact count says."""
    guessed = sum(lost.values())
    return guessed > 0 and abs(guessed - deficit) <= max(2, guessed // 5)


def _shared(lost: dict[int, int], deficit: int) -> int:
    """Let the gaps have lost what an exact count says; return what is missing at the end."""
    guessed = sum(lost.values())
    if _accounts(lost, deficit):
        largest = max(lost, key=lambda number: lost[number])
        lost[largest] = max(0, lost[largest] + deficit - guessed)
        return 0
    if deficit == 0:
        # Bytes were put in between; no packet is missing.
        lost.clear()
    return max(0, deficit - sum(lost.values()))


def _tags(file: Bytes, walked: Walked) -> dict[int, dict[int, _Tag]]:
    """Return the tags of each run by the number of their packet.

    A tag has one fixed place in its packet: the same letters elsewhere are text or chance.
    """
    found: dict[int, dict[int, _Tag]] = {}
    for place, run in enumerate(walked.runs):
        if run.form[2] != LAYER_III:
            continue
        for word in (b"Xing", b"Info", b"VBRI"):
            offset = _tag_offset(run.form) if word != b"VBRI" else 36
            for hit in file.find(word, run.starts[0], run.stops[-1]):
                number = run.number_at(hit - offset)
                if number is not None:
                    packet = file.data[run.starts[number] : run.stops[number]]
                    found.setdefault(place, {})[number] = _read_tag(packet, offset)
    return found


def _tag_offset(form: tuple[int, ...]) -> int:
    """Return where a Xing tag lies: behind the header and what a silent packet's side data take."""
    mono = form[1] == 1
    return 4 + ((17 if mono else 32) if form[3] == VERSION_1 else (9 if mono else 17))


def _read_tag(packet: bytes, offset: int) -> _Tag:
    if packet[offset : offset + 4] == b"VBRI":
        size, count = packet[offset + 10 : offset + 14], packet[offset + 14 : offset + 18]
        return _Tag(int.from_bytes(count, "big"), int.from_bytes(size, "big"), 0, 0)
    flags = int.from_bytes(packet[offset + 4 : offset + 8], "big")
    at = offset + 8
    numbers: list[int | None] = []
    for flag in (1, 2):
        numbers.append(int.from_bytes(packet[at : at + 4], "big") if flags & flag else None)
        at += 4 if flags & flag else 0
    at += (100 if flags & 4 else 0) + (4 if flags & 8 else 0)
    delays = packet[at + 21 : at + 24]
    if len(delays) < 3 or not packet[at : at + 4].isalnum():
        return _Tag(numbers[0], numbers[1], 0, 0)
    delay, padding = delays[0] << 4 | delays[1] >> 4, (delays[1] & 15) << 8 | delays[2]
    return _Tag(numbers[0], numbers[1], delay, padding)

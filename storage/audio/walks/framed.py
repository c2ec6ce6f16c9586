"""Streams of packets that each begin with a sync word and state their own length.

A sync word occurs by chance in any data, so a packet is believed where the one before it ends, or
where others of its kind follow it.
"""

import mmap
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import sub
from statistics import fmean
from typing import NamedTuple, Protocol

from storage.audio.walks.parts import SLICE_BYTES, Bytes, Group
from storage.audio.walks.tags import tag_bytes

ALIKE, DIFFERENT = 2, 4
"""Packets that must follow one for it to be believed: in the stream's form, in another."""
LEAD_BYTES = 1 << 22
"""Within which the first packet must begin."""
NEIGHBOURS = 50
"""Packets on each side of a gap by whose mean size its bytes are counted in packets."""


Data = mmap.mmap | bytes


class Header(NamedTuple):
    """What a packet says of itself."""

    length: int
    """Bytes, with the header."""
    frames: int
    form: tuple[int, ...]
    """What does not change within a stream: version, sample rate, channels."""


class Framing(Protocol):
    """How the packets of one kind of stream begin."""

    sync: re.Pattern[bytes]
    header_bytes: int
    known: dict[bytes, Header | None]
    """Headers that four bytes say all of."""

    def at(self, data: Data, position: int) -> Header | None:
        """Return the header of the packet that begins here, or None."""
        ...


class Gap(NamedTuple):
    """Bytes between packets that are no packet."""

    packet: int
    """Number of the packet behind it."""
    bytes: int


@dataclass
class Run:
    """Packets of one form, one after the other."""

    form: tuple[int, ...]
    frames_each: int
    starts: "array[int]" = field(default_factory=lambda: array("q"))
    stops: "array[int]" = field(default_factory=lambda: array("q"))
    gaps: list[Gap] = field(default_factory=list)

    def packets_lost(self) -> dict[int, int]:
        """Return how many packets were lost before each that follows a gap, by its number."""
        lost: dict[int, int] = {}
        for gap in self.gaps:
            first, last = max(0, gap.packet - NEIGHBOURS), gap.packet + NEIGHBOURS
            mean = fmean(map(sub, self.stops[first:last], self.starts[first:last]))
            lost[gap.packet] = lost.get(gap.packet, 0) + max(1, round(gap.bytes / mean))
        return lost

    def number_at(self, position: int) -> int | None:
        """Return the number of the packet that begins here, or None."""
        number = bisect_left(self.starts, position)
        found = number < len(self.starts) and self.starts[number] == position
        return number if found else None

    def groups(self, file: Bytes, lost: dict[int, int], first: int = 0) -> Iterator[Group]:
        """Yield each packet with its end in time, from packet `first` on."""
        passed = 0
        for number in range(first, len(self.starts)):
            passed += 1 + lost.get(number, 0)
            packet = file.data[self.starts[number] : self.stops[number]]
            file.passed(self.starts[number])
            yield Group((packet,), passed * self.frames_each)


@dataclass
class Walked:
    """A stream, walked over."""

    runs: list[Run] = field(default_factory=list)
    stray_bytes: int = 0
    cut: bool = False
    """Whether the last packet is incomplete."""


class _Walk:
    def __init__(self, file: Bytes, framing: Framing, stop: int) -> None:
        self.file, self.framing, self.stop = file, framing, stop
        self.walked = Walked()
        self.last = -1
        """Where the latest packet begins."""

    def follow(self, start: int) -> Walked:
        """Walk from the first packet to the end."""
        stop = self.stop
        run = self._begin(start)
        position = start
        while position < stop:
            position = self._stride(position, run)
            self.file.passed(position)
            self.last = run.starts[-1]
            header = self.framing.at(self.file.data, position)
            alike = header is not None and header.form == run.form
            if position >= stop or (header and alike and position + header.length <= stop):
                continue
            if tag := tag_bytes(self.file, position, stop):
                position += tag
            elif alike:
                self.walked.cut = True
                position = stop
            else:
                position, run = self._resume(position, run)
        return self.walked

    def _stride(self, position: int, run: Run) -> int:
        """Pass packets of the run while one follows the other, a slice at most; return the end."""
        # Nearly all of a walk's time is spent here.
        data, at, known, form = self.file.data, self.framing.at, self.framing.known, run.form
        starts, stops = run.starts.append, run.stops.append
        last = min(self.stop, position + SLICE_BYTES)
        while position < last:
            header = known.get(data[position : position + 4]) or at(data, position)
            if header is None or header.form != form or position + header.length > self.stop:
                break
            starts(position)
            position += header.length
            stops(position)
        return position

    def _begin(self, position: int) -> Run:
        header = self.framing.at(self.file.data, position)
        assert header
        self.walked.runs.append(Run(header.form, header.frames))
        return self.walked.runs[-1]

    def _resume(self, position: int, run: Run) -> tuple[int, Run]:
        """Find the next packet that can be believed; note what lies before it."""
        # The last header may lie about its length, so its own bytes are searched, too.
        found = self.search(self.last + self.framing.header_bytes, self.stop, run.form)
        if found is None:
            self.walked.stray_bytes += self.stop - position
            return self.stop, run
        run.stops[-1] = min(run.stops[-1], found)
        between = max(0, found - position)
        self.walked.stray_bytes += between
        header = self.framing.at(self.file.data, found)
        assert header
        if header.form != run.form:
            run = self._begin(found)
        elif between:
            run.gaps.append(Gap(len(run.starts), between))
        return found, run

    def search(self, start: int, stop: int, form: tuple[int, ...] | None) -> int | None:
        """Return where the next packet begins that others follow."""
        while start < stop:
            end = min(start + SLICE_BYTES, stop)
            for hit in self.framing.sync.finditer(self.file.data, start, min(end + 8, stop)):
                header = self.framing.at(self.file.data, hit.start())
                wanted = ALIKE if header and header.form == form else DIFFERENT
                if header and self.leads_on(hit.start(), header, wanted):
                    return hit.start()
            self.file.passed(end)
            start = end
        return None

    def leads_on(self, position: int, header: Header, wanted: int) -> bool:
        """Say whether `wanted` packets follow, or as many as there is room for."""
        first, followers = header.form, 0
        while followers < wanted:
            position += header.length
            if position == self.stop or tag_bytes(self.file, position, self.stop):
                return True
            following = self.framing.at(self.file.data, position)
            if following is None or following.form != first:
                return position > self.stop and followers > 0
            header, followers = following, followers + 1
        return True


def walk_frames(file: Bytes, framing: Framing, start: int, stop: int) -> Walked | None:
    """Walk over the stream whose first packet begins exactly at `start`; None if none does."""
    walk = _Walk(file, framing, stop)
    header = framing.at(file.data, start)
    if header is None or not walk.leads_on(start, header, DIFFERENT):
        return None
    return walk.follow(start)


def search_frames(file: Bytes, framing: Framing, start: int, stop: int) -> Walked | None:
    """Walk over the stream that begins somewhere behind `start`; None if none does."""
    walk = _Walk(file, framing, stop)
    found = walk.search(start, min(start + LEAD_BYTES, stop), None)
    if found is None:
        return None
    walked = walk.follow(found)
    walked.stray_bytes += found - start
    return walked

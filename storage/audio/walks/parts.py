"""What a walk finds: the parts of a recording, each to be decoded for itself."""

import io
import mmap
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from storage.audio.decoding import Length

SLICE_BYTES = 1 << 24
"""Of a file that are searched, and held, at a time."""


class Group(NamedTuple):
    """Packets that are decoded one after the other."""

    packets: tuple[bytes, ...]
    end: int | None = None
    """Frames of the part up to their end, lost ones included, at the walk's rate."""


@dataclass(frozen=True)
class Packets:
    """A part whose packets were found one by one."""

    codec: str
    """FFmpeg's name of its decoder."""
    groups: Callable[[], Iterator[Group]]
    frames: int
    """At the walk's rate: what is there, with what was lost in between."""
    nominal: int
    """Frames of a usual packet, at the walk's rate: less than half of it is no gap."""
    rate: int
    """The walk's rate in Hz; 0 where only the decoder knows it."""
    lost: int = 0
    """Frames that are missing at the end, at the walk's rate."""
    skip: int = 0
    """Frames at the beginning that belong to the encoder, not to the recording."""
    total: int | None = None
    """Frames up to the end of the recording, those skipped included, where that is known."""
    extradata: bytes = b""
    anchored: bool = True
    """Whether the first group's end counts from the part's beginning; else it sets that."""


@dataclass(frozen=True)
class Extract:
    """A part that libsndfile reads as if it were a file, some bytes of its header corrected."""

    start: int
    stop: int
    corrections: Mapping[int, bytes]
    """What stands in the place of the file's own bytes, by position in the part."""
    there: int
    """Bytes of sound."""
    claimed: int | None
    """Bytes of sound that the header states, if it does."""


Part = Packets | Extract


class Survey(NamedTuple):
    """A file, walked over."""

    parts: tuple[Part, ...]
    promised: Length
    """At the walk's rate; only a certainty where the frames are not known before decoding."""
    plain: bool
    """Whether nothing is wrong, so that libsndfile can be given the file as it is."""
    frames: int = 0
    """That libsndfile should then find; 0 where that is not known."""
    stray_bytes: int = 0


class Bytes:
    """A file's bytes, mapped; what was passed is let go, so that no more than a slice is held."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as stream:
            self.data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self.size = len(self.data)
        self._passed = 0

    def close(self) -> None:
        """Unmap."""
        self.data.close()

    def passed(self, position: int) -> None:
        """Let go of the pages before a position, once they are many; they can be read again."""
        if position < self._passed:
            self._passed = 0
        if position - self._passed > SLICE_BYTES:
            length = (position - self._passed) // mmap.PAGESIZE * mmap.PAGESIZE
            self.data.madvise(mmap.MADV_DONTNEED, self._passed, length)
            self._passed += length

    def find(self, wanted: bytes, start: int, stop: int) -> Iterator[int]:
        """Yield where some bytes occur."""
        while start < stop:
            end = min(start + SLICE_BYTES, stop)
            hit = self.data.find(wanted, start, min(end + len(wanted) - 1, stop))
            if hit >= 0:
                yield hit
            start = end if hit < 0 else hit + 1
            self.passed(start)


class Window(io.RawIOBase):
    """A part of a file that reads as a file of its own, some of its bytes corrected."""

    def __init__(self, path: Path, part: Extract) -> None:
        self._stream = path.open("rb", buffering=0)
        self._part, self._at = part, 0

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        super().close()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in the part."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position in the part."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read the next bytes, corrected."""
        count = max(0, min(len(buffer), self._size - self._at))
        data = bytearray(os.pread(self._stream.fileno(), count, self._part.start + self._at))
        for position, correct in self._part.corrections.items():
            first, last = (
                max(position, self._at),
                min(position + len(correct), self._at + len(data)),
            )
            if first < last:
                data[first - self._at : last - self._at] = correct[
                    first - position : last - position
                ]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    @property
    def _size(self) -> int:
        return self._part.stop - self._part.start

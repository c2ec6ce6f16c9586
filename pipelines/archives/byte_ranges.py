"""Seekable views for readers that want a file: a part of one, and one on a server."""

import io

from pipelines.archives.remote_file import RemoteFile

TAIL = 1 << 17
"""Bytes. A zip's end, with the whole directory of a small one, comes in one range of this size."""
WINDOW = 1 << 16
"""Bytes read ahead where `expect` was not called."""
LONGEST_WINDOW = 8 << 20


class _View(io.RawIOBase):
    """A read-only stream over [0, size); subclasses read at a position."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            # As a file does; the standard library's zip reader relies on it.
            raise OSError(22, "Invalid argument")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        wanted = max(0, min(len(buffer), self.size - self._position))
        if not wanted:
            return 0
        count = self._read_at(self._position, memoryview(buffer)[:wanted])
        self._position += count
        return count

    def _read_at(self, position: int, target: memoryview) -> int:
        raise NotImplementedError


class Slice(_View):
    """`size` bytes of another stream, from `start` on. Closing it leaves that one open."""

    def __init__(self, stream: io.BufferedReader | io.RawIOBase, start: int, size: int) -> None:
        super().__init__(size)
        self._stream, self._start = stream, start

    def _read_at(self, position: int, target: memoryview) -> int:
        self._stream.seek(self._start + position)
        return self._stream.readinto(target) or 0


class RangeStream(_View):
    """A remote file as one seekable stream, fetched by windows: few requests, bounded memory.

    Reading raises `SourceError` as `RemoteFile.stream` does. One thread at a time.
    """

    def __init__(self, remote: RemoteFile) -> None:
        super().__init__(remote.size)
        self._remote = remote
        self._window: bytes | bytearray = b""
        self._begin = 0
        self._expected = 0

    def expect(self, end: int) -> None:
        """Announce that all up to `end` will be read in order, so that few requests fetch it."""
        self._expected = min(end, self.size)

    def forget(self) -> None:
        """Let go of what was fetched: it is fetched again where it is read again."""
        self._window = b""

    def _read_at(self, position: int, target: memoryview) -> int:
        ready = self._ready(position)
        if not len(ready):
            if len(target) > LONGEST_WINDOW:
                # The directory of a large zip: it is read into the buffer, and not kept twice.
                return self._fill(position, target)
            self._fetch(position, len(target))
            ready = self._ready(position)
        count = min(len(ready), len(target))
        target[:count] = ready[:count]
        return (
            count
            if count == len(target)
            else count + self._read_at(position + count, target[count:])
        )

    def _ready(self, position: int) -> memoryview:
        inside = position - self._begin
        if not 0 <= inside < len(self._window):
            return memoryview(b"")
        return memoryview(self._window)[inside:]

    def _fetch(self, position: int, wanted: int) -> None:
        ahead = min(max(WINDOW, self._expected - position), LONGEST_WINDOW)
        begin, end = position, min(position + max(wanted, ahead), self.size)
        if end > self.size - TAIL:
            begin, end = min(position, max(0, self.size - TAIL)), self.size
        self._window, self._begin = self._remote.read(begin, end - begin), begin

    def _fill(self, position: int, target: memoryview) -> int:
        filled = 0
        for block in self._remote.stream(position, len(target)):
            target[filled : filled + len(block)] = block
            filled += len(block)
        return filled

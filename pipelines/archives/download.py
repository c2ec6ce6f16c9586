"""A whole archive from its server to the disk: in parts, in parallel, resumed, checked.

While it arrives, `NAME.part` holds the bytes and `NAME.part.json` says which file they are of and
which parts are whole. Whatever ends the process, the next call resumes there.
"""

import contextlib
import json
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from pipelines.archives.known_archives import Published
from pipelines.archives.remote_file import Head, RemoteFile
from pipelines.archives.zip_archive import Progress, check_archive
from storage.errors import IntegrityError
from storage.files import disk_errors, only_one, require_space, sync, write_at
from storage.retry_policy import DEFAULT_RETRIES, RetryPolicy

PART = 64 << 20
"""Bytes of a part: what a killed download may have to fetch again, on each connection."""

log = logging.getLogger(__name__)


class Download(NamedTuple):
    """What is fetched, where to, and what is called with each block's bytes."""

    wanted: Published
    destination: Path
    fetched: Progress | None = None
    """Called with the bytes that arrived, those of an earlier call included."""
    checked: Progress | None = None
    """Called with the bytes whose checksums were computed."""


def download(
    request: Download, connections: int = 6, retries: RetryPolicy = DEFAULT_RETRIES
) -> str:
    """Fetch an archive unless it is there, check its sums, and return its sha1 in hex.

    The file appears under its name only when it is whole and checked. One that is there already
    is only checked, and no server is asked if its size or a sum is published.

    Raises:
        SourceError: the archive has no public address; or the server does not deliver, or holds
            another release.
        IntegrityError: the bytes are not those published, and were deleted; or a file of
            another size has its name.
        LockedError: another process is fetching it.
        MachineError: the disk has no room for it.
    """
    wanted, path = request.wanted, request.destination
    with only_one(path.with_name(f".{path.name}.lock"), f"downloading {path}"):
        known = wanted.bytes or wanted.sha1 or wanted.md5 or wanted.sha256
        if path.exists() and (known or wanted.url is None):
            return _check_present(request, wanted.bytes)
        with RemoteFile(wanted.address(), connections=connections, retries=retries) as remote:
            head = remote.look()
            wanted.require(head.bytes, head.etag)
            if path.exists():
                return _check_present(request, head.bytes)
            part = path.with_name(f"{path.name}.part")
            if head.ranges and head.bytes is not None:
                _fetch_parts(request, part, head, connections, retries)
            else:
                _fetch_whole(request, part, head, remote)
        return _settle(request, part)


def _check_present(request: Download, size: int | None) -> str:
    path = request.destination
    if size is not None and path.stat().st_size != size:
        raise IntegrityError(
            f"{path} has {path.stat().st_size} bytes, not {size} as published; it is cut short or "
            "another release: move it away, and run again"
        )
    return _check(request, path)


def _check(request: Download, path: Path) -> str:
    wanted = request.wanted
    return check_archive(path, wanted.sha1, wanted.md5, request.checked, wanted.sha256)


def _settle(request: Download, part: Path) -> str:
    """Give a checked download its name; delete one whose checksums are wrong."""
    path, state = request.destination, _state_of(part)
    try:
        sha1 = _check(request, part)
    except IntegrityError:
        # Resuming it would always end in the same bytes.
        part.unlink()
        state.unlink(missing_ok=True)
        raise
    with disk_errors(path):
        part.replace(path)
        state.unlink(missing_ok=True)
        sync(path.parent)
    return sha1


def _fetch_whole(request: Download, part: Path, head: Head, remote: RemoteFile) -> None:
    """Fetch in one answer, for servers that serve no parts; nothing of it can be resumed."""
    log.warning(
        "the server of %s serves no ranges: the file is fetched in one request, without resuming",
        remote.name,
    )
    require_space(part.parent, head.bytes or 0, f"downloading {remote.name}")
    size = 0
    with disk_errors(part), part.open("wb") as target:
        for block in remote.whole():
            target.write(block)
            size += len(block)
            if request.fetched:
                request.fetched(len(block))
        os.fsync(target.fileno())
    expected = head.bytes if head.bytes is not None else request.wanted.bytes
    if expected not in (None, size):
        part.unlink()
        raise IntegrityError(f"{remote.name} arrived with {size} bytes, not {expected}; run again")


def _fetch_parts(
    request: Download, part: Path, head: Head, connections: int, retries: RetryPolicy
) -> None:
    """Fetch what is lacking of the file, each part over its own answer."""
    url, size, stop = request.wanted.address(), head.bytes or 0, threading.Event()
    # No thread sleeps on after another one has failed, or the caller was interrupted.
    retries = replace(retries, sleep=stop.wait)
    with (
        disk_errors(part),
        _Ledger(part, {"url": url, "bytes": size, "etag": head.etag}) as ledger,
        RemoteFile(url, size, head.etag, connections, retries) as remote,
        ThreadPoolExecutor(connections) as threads,
    ):
        require_space(part.parent, size - ledger.bytes_there(), f"downloading {remote.name}")
        os.truncate(part, size)
        lacking = ledger.lacking()
        arrived: SimpleQueue[int | None] = SimpleQueue()
        arrived.put(size - sum(each.length for each in lacking))
        parts = [
            threads.submit(_fetch_part, remote, ledger, each, arrived.put, stop) for each in lacking
        ]
        for future in parts:
            future.add_done_callback(lambda _: arrived.put(None))
        try:
            _count(arrived, len(parts), request.fetched)
        finally:
            stop.set()
        for future in parts:
            future.result()


def _count(arrived: "SimpleQueue[int | None]", parts: int, fetched: Progress | None) -> None:
    """Report bytes, in the caller's own thread, until all parts have ended."""
    while parts or not arrived.empty():
        count = arrived.get()
        if count is None:
            parts -= 1
        elif fetched:
            fetched(count)


class _Part(NamedTuple):
    """A part: its number, its first byte and its bytes."""

    number: int
    start: int
    length: int


def _fetch_part(
    remote: RemoteFile,
    ledger: "_Ledger",
    part: _Part,
    fetched: Progress,
    stop: threading.Event,
) -> None:
    """Fetch one part; leave it unfinished when asked to stop. The first failure stops all."""
    position = part.start
    try:
        for block in remote.stream(part.start, part.length):
            if stop.is_set():
                return
            ledger.write(position, block)
            position += len(block)
            fetched(len(block))
        ledger.finish(part.number)
    except BaseException:
        stop.set()
        raise


class _Ledger:
    """A `.part` file, and the durable list of its finished parts.

    The list's first line says which file it is of; each further line is the number of a part, and
    is written when that part's bytes are on the disk. An incomplete last line is ignored.
    """

    def __init__(self, part: Path, identity: dict[str, str | int]) -> None:
        self.part, self.identity = part, identity
        self.part_bytes = PART
        self._finished: set[int] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> "_Ledger":
        with contextlib.ExitStack() as stack:
            resumed = self._resumed()
            stack.callback(os.close, descriptor := os.open(self.part, os.O_RDWR | os.O_CREAT))
            state = stack.enter_context(_state_of(self.part).open("ab" if resumed else "wb"))
            self._file, self._state = descriptor, state
            if not resumed:
                os.truncate(self.part, 0)
                self._note(self.identity | {"part_bytes": self.part_bytes})
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        os.fsync(self._file)
        self._stack.close()

    def bytes_there(self) -> int:
        """Return the bytes of disk that the file takes now."""
        return os.fstat(self._file).st_blocks * 512

    def lacking(self) -> list[_Part]:
        """Return the parts that are not finished, in request."""
        size = int(self.identity["bytes"])
        starts = enumerate(range(0, size, self.part_bytes))
        return [
            _Part(number, start, min(self.part_bytes, size - start))
            for number, start in starts
            if number not in self._finished
        ]

    def write(self, position: int, block: bytes) -> None:
        """Write bytes at their position."""
        write_at(self._file, position, block)

    def finish(self, number: int) -> None:
        """Note a part as finished, durably, after its bytes."""
        os.fdatasync(self._file)
        with self._lock:
            self._note(number)

    def _note(self, value: object) -> None:
        self._state.write(json.dumps(value).encode() + b"\n")
        self._state.flush()
        os.fsync(self._state.fileno())

    def _resumed(self) -> bool:
        """Load an earlier call's parts, if they are of the same file."""
        try:
            text = _state_of(self.part).read_bytes()
            # What follows the last line's end was being written when the process was killed.
            first, *rest = [json.loads(line) for line in text.split(b"\n")[:-1]]
            part_bytes = int(first.pop("part_bytes"))
        except FileNotFoundError:
            return False
        except (ValueError, KeyError, AttributeError, TypeError):
            first, rest, part_bytes = None, [], PART
        if first != self.identity or not self.part.exists():
            log.warning(
                "%s starts again: what is there is of another file (its address, size or ETag "
                "changed), or incomplete",
                self.part,
            )
            return False
        if not text.endswith(b"\n"):
            os.truncate(_state_of(self.part), text.rfind(b"\n") + 1)
        self.part_bytes, self._finished = part_bytes, {int(number) for number in rest}
        return True


def _state_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")

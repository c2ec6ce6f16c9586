"""A file on an HTTP server, read by ranges: pinned, retried, never more than was asked for.

Every range is requested with the pinned ETag, so that no answer can come from another release; a
body that breaks off is resumed from there.
"""

import contextlib
import logging
import re
import threading
from collections.abc import Iterator
from typing import NamedTuple, Self

import httpx

from storage.errors import SourceError
from storage.retry_policy import (
    DEFAULT_RETRIES,
    Attempts,
    RetryPolicy,
    TransientError,
    seconds_asked,
)

TRANSIENT = frozenset({408, 425, 429})
"""With all of 5xx: statuses that another attempt may not meet."""
ELSEWHERE = "name another server with data.mirror"
REMEDY = f"run again when the server is well, or {ELSEWHERE}"
CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
REFUSALS = {
    401: "wants a password; download the file by hand and name its folder with data.root",
    403: "forbids it; download the file by hand and name its folder with data.root",
    404: "has no such file; check the address, or name another server with data.mirror",
    410: "no longer has it; name another server with data.mirror",
    412: "holds another file than was planned (its ETag changed); plan again",
    416: "holds a shorter file than was planned; plan again",
}

# Its INFO lines hold whole addresses, with the signatures of redirects.
logging.getLogger("httpx").setLevel(logging.WARNING)


class Head(NamedTuple):
    """What a server says of a file before any of it is read."""

    bytes: int | None
    """None where it does not say."""
    etag: str
    """Empty where it has none."""
    ranges: bool
    """Whether it serves parts."""


class RemoteFile:
    """One file on a server. Threads may share it; processes may not: each opens its own.

    `size` (bytes) and `etag` pin the file; those not given are taken from the server on first use.
    """

    def __init__(
        self,
        url: str,
        size: int = 0,
        etag: str = "",
        connections: int = 6,
        retries: RetryPolicy = DEFAULT_RETRIES,
    ) -> None:
        self.url = url
        self.name = _shown(url)
        self._size, self._etag = size, etag
        self._retries = retries
        self._looking = threading.Lock()
        self._client = httpx.Client(
            follow_redirects=True,
            # A compressed body would have neither the length nor the bytes of the range.
            headers={"Accept-Encoding": "identity", "User-Agent": "stemworks"},
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            # Waiting for a free connection has no limit.
            timeout=httpx.Timeout(
                retries.silence_seconds, connect=retries.connect_seconds, pool=None
            ),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    @property
    def size(self) -> int:
        """Return the file's bytes, as pinned or as the server says.

        Raises:
            SourceError: the server does not say.
        """
        with self._looking:
            if not self._size:
                head = self.look()
                if head.bytes is None:
                    raise SourceError(
                        f"{self.name} has no stated size; name another server with data.mirror, "
                        "or download the file by hand"
                    )
                self._size, self._etag = head.bytes, self._etag or head.etag
        return self._size

    @property
    def etag(self) -> str:
        """Return the pinned ETag, empty if there is none."""
        return self._etag

    def look(self) -> Head:
        """Ask what the server holds; the answer is not compared with the pins.

        Raises:
            SourceError: the server does not answer, or has no such file.
        """
        attempts = Attempts(self.name, self._retries, REMEDY)
        while True:
            try:
                return self._look()
            except TransientError as error:
                attempts.failed(error)

    def stream(self, start: int, length: int) -> Iterator[bytes]:
        """Yield `length` bytes from `start` on, in blocks; an answer that breaks off is resumed.

        Raises:
            SourceError: the server does not deliver them, or holds another file than the pinned.
        """
        size, position, end = self.size, start, start + length
        if not 0 <= start <= end <= size:
            raise SourceError(
                f"{self.name} has {size} bytes, but bytes {start} to {end} were planned; plan again"
            )
        attempts = Attempts(self.name, self._retries, REMEDY)
        while position < end:
            try:
                for block in self._range(position, end, size):
                    position += len(block)
                    attempts.received(len(block))
                    yield block
            except TransientError as error:
                attempts.failed(error)

    def read(self, start: int, length: int) -> bytearray:
        """Return `length` bytes from `start` on; as `stream`."""
        data = bytearray()
        for block in self.stream(start, length):
            data += block
        return data

    def whole(self) -> Iterator[bytes]:
        """Yield the whole file in one answer, for servers without ranges; nothing is resumed.

        Raises:
            SourceError: the server does not begin to deliver, or breaks off.
        """
        attempts, started = Attempts(self.name, self._retries, REMEDY), False
        while True:
            try:
                with self._request("GET", {}) as response:
                    for block in response.iter_raw():
                        started = True
                        yield block
                return
            except TransientError as error:
                if started:
                    raise SourceError(
                        f"{self.name} broke off ({error}) and its server cannot resume; run again, "
                        "or name another server with data.mirror"
                    ) from error
                attempts.failed(error)

    def _look(self) -> Head:
        with contextlib.suppress(SourceError), self._request("HEAD", {}) as response:
            # Without a read of its empty body the connection would not be kept.
            response.read()
            length = response.headers.get("content-length", "")
            if length.isdecimal() and response.headers.get("accept-ranges") == "bytes":
                return Head(int(length), response.headers.get("etag", ""), ranges=True)
        # Some servers answer no HEAD, or not fully: a request for the first byte is more reliable.
        with self._request("GET", {"Range": "bytes=0-0"}) as response:
            etag, length = response.headers.get("etag", ""), response.headers.get("content-length")
            match = CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
            if response.status_code == 206 and match and match[3] != "*":
                return Head(int(match[3]), etag, ranges=True)
            return Head(int(length) if length else None, etag, ranges=False)

    def _range(self, start: int, end: int, size: int) -> Iterator[bytes]:
        """Yield what one answer holds of [start, end)."""
        headers = {"Range": f"bytes={start}-{end - 1}"}
        if self._etag and not self._etag.startswith("W/"):
            # A weak ETag never matches here, by the standard.
            headers["If-Match"] = self._etag
        with self._request("GET", headers) as response:
            self._require_asked(response, start, end, size)
            # As they arrive: blocks of a fixed size would lose what arrived of the last one.
            for block in response.iter_raw():
                if len(block) > end - start:
                    raise SourceError(f"{self.name} sent more than it was asked for; {ELSEWHERE}")
                start += len(block)
                yield block
        if start < end:
            raise TransientError(f"the answer ended {end - start} bytes early")

    def _require_asked(self, response: httpx.Response, start: int, end: int, size: int) -> None:
        """Refuse an answer that is not the range asked for of the file pinned."""
        etag = response.headers.get("etag", "")
        if self._etag and etag and _opaque(etag) != _opaque(self._etag):
            raise SourceError(
                f"{self.name} has ETag {etag}, not {self._etag}: the server holds another file "
                "than was planned; plan again"
            )
        if response.status_code != 206:
            # The answer is closed unread: it is the whole file.
            raise SourceError(
                f"{self.name} is on a server that ignores ranges (it answered "
                f"{response.status_code}); {ELSEWHERE}, or use --set data.access=download"
            )
        stated = response.headers.get("content-range", "")
        match = CONTENT_RANGE.fullmatch(stated)
        if match and match[3] not in ("*", str(size)):
            raise SourceError(
                f"{self.name} has {match[3]} bytes, not {size}: the server holds another file than "
                "was planned; plan again"
            )
        if not match or int(match[1]) != start or int(match[2]) >= end:
            raise SourceError(
                f"{self.name} answered bytes {start} to {end - 1} with '{stated}'; {ELSEWHERE}"
            )

    @contextlib.contextmanager
    def _request(self, method: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        try:
            with self._client.stream(method, self.url, headers=headers) as response:
                if not response.is_success:
                    raise _refused(self.name, response)
                yield response
        except (httpx.UnsupportedProtocol, httpx.TooManyRedirects, httpx.InvalidURL) as error:
            raise SourceError(f"{self.name} cannot be requested ({error}); {ELSEWHERE}") from error
        except httpx.TransportError as error:
            raise TransientError(f"{type(error).__name__}: {error}") from error


def _refused(name: str, response: httpx.Response) -> Exception:
    status = response.status_code
    if status in TRANSIENT or status >= 500:
        wait = seconds_asked(response.headers.get("retry-after", ""))
        return TransientError(f"status {status} {response.reason_phrase}".strip(), wait)
    remedy = REFUSALS.get(status, ELSEWHERE)
    return SourceError(f"{name}: the server answered {status} and {remedy}")


def _opaque(etag: str) -> str:
    return etag.removeprefix("W/")


def _shown(url: str) -> str:
    """Return an address without user, password and query, which may be secrets."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return url
    return str(parsed.copy_with(username=None, password=None, query=None, fragment=None))

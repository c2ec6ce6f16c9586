"""A real HTTP server of files on loopback, with ranges, ETags and every accident on demand."""

import contextlib
import hashlib
import http.server
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

BLOCK = 1 << 16


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request; by default nothing."""

    status: int = 0
    """Answered at once, without a body."""
    headers: tuple[tuple[str, str], ...] = ()
    """Put in place of the answer's own."""
    cut: int = -1
    """The connection is closed after so many bytes of the body."""
    reset: bool = False
    """The connection is reset, at `cut`."""
    whole: bool = False
    """The range is ignored: 200, and all of the file."""
    flip: int = -1
    """The lowest bit of this byte of the body is another."""
    silence: float = 0.0
    """Seconds before the answer."""


@dataclass
class RangeServer:
    """Serves files by name; use as a context manager.

    `faults` are used up one by each GET, then comes `always`; `head_faults` by each HEAD.
    """

    files: dict[str, Path]
    faults: list[Fault] = field(default_factory=list)
    head_faults: list[Fault] = field(default_factory=list)
    always: Fault = Fault()
    etags: dict[str, str] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and Range header of each request, in order."""
    sent: int = 0
    """Bytes of bodies."""
    most: int = 0
    """Most requests under way at a time."""
    connections: int = 0
    """Opened since the start."""
    now: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        owner: RangeServer = self

        class Bound(_Handler):
            server_of = owner

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self._server.daemon_threads = True
        # A request lost on purpose is no news.
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, name: str) -> str:
        """Return the address of a file."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/{name}"

    def etag(self, name: str) -> str:
        """Return a file's ETag: of its name, time and size, unless one is set."""
        status = self.files[name].stat()
        told = f"{name} {status.st_mtime_ns} {status.st_size}"
        return self.etags.get(name, f'"{hashlib.md5(told.encode()).hexdigest()}-7"')

    def gets(self) -> list[str]:
        """Return the Range headers of the GETs so far."""
        return [header for method, header in self.requests if method == "GET"]

    def fault(self, method: str) -> Fault:
        """Take the next accident."""
        with self.lock:
            if method == "HEAD":
                return self.head_faults.pop(0) if self.head_faults else Fault()
            return self.faults.pop(0) if self.faults else self.always

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count a request as under way."""
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            yield
        finally:
            with self.lock:
                self.now -= 1


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_of: RangeServer

    def setup(self) -> None:
        super().setup()
        with self.server_of.lock:
            self.server_of.connections += 1

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._do()

    def do_GET(self) -> None:
        self._do()

    def _do(self) -> None:
        server = self.server_of
        with server.counted():
            with server.lock:
                server.requests.append((self.command, self.headers.get("Range", "")))
            fault = server.fault(self.command)
            time.sleep(fault.silence)
            name = self.path.lstrip("/").partition("?")[0]
            if fault.status:
                self._answer(fault.status, {}, fault)
            elif name in server.redirects:
                self._answer(302, {"Location": server.redirects[name]}, fault)
            elif name not in server.files:
                self._answer(404, {}, fault)
            else:
                self._serve(name, fault)

    def _serve(self, name: str, fault: Fault) -> None:
        path, etag = self.server_of.files[name], self.server_of.etag(name)
        size = path.stat().st_size
        pinned = self.headers.get("If-Match")
        if pinned not in (None, etag) or (pinned and pinned.startswith("W/")):
            return self._answer(412, {}, fault)
        headers = {"ETag": etag, "Accept-Ranges": "bytes"}
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if match is None or fault.whole:
            headers.pop("Accept-Ranges" if fault.whole else "", None)
            return self._answer(200, headers, fault, (path, 0, size))
        start, end = int(match[1]), min(int(match[2]) + 1, size)
        if start >= size:
            return self._answer(416, {"Content-Range": f"bytes */{size}"}, fault)
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        return self._answer(206, headers, fault, (path, start, end - start))

    def _answer(
        self,
        status: int,
        headers: dict[str, str],
        fault: Fault,
        body: tuple[Path, int, int] | None = None,
    ) -> None:
        length = body[2] if body else 0
        told = {"Content-Length": str(length)} | headers | dict(fault.headers)
        self.send_response(status)
        for header, value in told.items():
            if value:
                self.send_header(header, value)
        if not told["Content-Length"]:
            self.send_header("Connection", "close")
        self.end_headers()
        if body and self.command == "GET":
            self._send(*body, fault)

    def _send(self, path: Path, start: int, length: int, fault: Fault) -> None:
        left = length if fault.cut < 0 else min(length, fault.cut)
        with path.open("rb") as stream:
            stream.seek(start)
            while left and (block := bytearray(stream.read(min(BLOCK, left)))):
                if 0 <= (place := start + fault.flip - stream.tell() + len(block)) < len(block):
                    block[place] ^= 1
                self.wfile.write(block)
                left -= len(block)
                with self.server_of.lock:
                    self.server_of.sent += len(block)
        if fault.cut >= 0:
            if fault.reset:
                # Closing with nothing left to linger for sends a reset.
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True

"""A proxy of ours before an S3 server: it checks digests, counts requests, and fails on demand.

It stands for what a test server is not: strict about checksums, and as unreliable as a network.
"""

import base64
import hashlib
import re
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import unquote

HOP = {"connection", "expect", "keep-alive", "transfer-encoding"}
CODES = {
    403: "AccessDenied", 409: "ConditionalRequestConflict", 412: "PreconditionFailed",
    503: "SlowDown", 507: "InsufficientStorage",
}  # fmt: skip


@dataclass
class Fault:
    """What happens to the requests of one method whose path matches, from one of them on.

    Kinds: `status` (answer `amount`, ask nobody), `refuse` (reset before the server is asked),
    `forget` (reset after the server did it), `truncate` and `reset` (close or reset after `amount`
    bytes of the body), `alter` (flip the body's byte at `amount`), `spoil` (flip the first byte
    sent), `late` (wait `amount` seconds).
    """

    kind: str
    method: str
    path: str
    amount: float = 0
    first: int = 1
    times: int = 1
    code: str = ""
    met: int = 0


class Request(NamedTuple):
    method: str
    path: str
    """Unquoted, the query included."""
    headers: dict[str, str]
    status: int


@dataclass
class Rules:
    """What a proxy is told, and what it saw."""

    upstream: tuple[str, int]
    faults: list[Fault] = field(default_factory=list)
    conditional: bool = True
    """False: the server behaves as one that ignores conditions."""
    requests: list[Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    writing: threading.Lock = field(default_factory=threading.Lock)
    """One write at a time: the test server does not judge a condition and write in one step."""

    def add(self, kind: str, method: str, path: str, **how: str | float) -> Fault:
        self.faults.append(Fault(kind, method, path, **how))  # type: ignore[arg-type]
        return self.faults[-1]

    def count(self, method: str, path: str = "") -> int:
        return sum(r.method == method and bool(re.search(path, r.path)) for r in self.requests)

    def fault_of(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.method == method and re.search(fault.path, path):
                    fault.met += 1
                    if fault.first <= fault.met < fault.first + fault.times:
                        return fault
        return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rules: Rules

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def handle_request(self) -> None:
        fault = self.rules.fault_of(self.command, unquote(self.path))
        body, trailers = self._received()
        kind = fault.kind if fault else ""
        amount = fault.amount if fault else 0
        if kind == "late":
            time.sleep(amount)
        if kind == "spoil":
            body = bytes([body[0] ^ 1]) + body[1:]
        if fault and kind == "status":
            self._refuse(int(amount), fault.code or CODES[int(amount)])
        elif kind == "refuse":
            self._reset(0)
        elif wrong := mismatch({**self._lower(), **trailers}, body):
            self._refuse(400, "BadDigest", wrong)
        else:
            self._pass_on(body, kind, int(amount))

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_request

    def _lower(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def _received(self) -> tuple[bytes, dict[str, str]]:
        """Return the request's body, and what followed it."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        if "aws-chunked" not in self.headers.get("Content-Encoding", ""):
            return body, {}
        return unchunked(body)

    def _pass_on(self, body: bytes, kind: str, amount: int) -> None:
        dropped = HOP | {"content-length", "x-amz-decoded-content-length", "x-amz-trailer"}
        if not self.rules.conditional:
            dropped |= {"if-match", "if-none-match"}
        headers = {name: value for name, value in self._lower().items() if name not in dropped}
        if headers.get("content-encoding") == "aws-chunked":
            del headers["content-encoding"], headers["x-amz-content-sha256"]
        headers["content-length"] = str(len(body))
        with self.rules.writing if self.command in ("PUT", "POST") else nullcontext():
            if self._replaced(headers):
                self._refuse(412, CODES[412])
                return
            status, answered, data = self._ask(self.command, self.path, headers, body)
        self._note(status)
        if kind == "forget":
            self._reset(0)
            return
        if kind == "alter" and data:
            data = data[:amount] + bytes([data[amount] ^ 1]) + data[amount + 1 :]
        self.send_response_only(status)
        for name, value in answered.items():
            if name.lower() not in HOP | {"content-length"}:
                self.send_header(name, value)
        length = answered.get("content-length", "0") if self.command == "HEAD" else len(data)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(data[:amount] if kind in ("truncate", "reset") else data)
        if kind == "truncate":
            self.close_connection = True
        if kind == "reset":
            self._reset(0.05)

    def _replaced(self, headers: dict[str, str]) -> bool:
        """Judge If-Match at the end of an upload in parts, which the test server ignores."""
        if self.command != "POST" or "if-match" not in headers:
            return False
        plain = {"host": headers["host"], "authorization": headers["authorization"]}
        answer = self._ask("HEAD", self.path.partition("?")[0], plain, b"")
        return answer[1].get("etag") != headers["if-match"]

    def _ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        upstream = HTTPConnection(*self.rules.upstream, timeout=30)
        try:
            upstream.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                upstream.putheader(name, value)
            upstream.endheaders(body)
            response = upstream.getresponse()
            answered = {name.lower(): value for name, value in response.getheaders()}
            return response.status, answered, response.read()
        finally:
            upstream.close()

    def _note(self, status: int) -> None:
        with self.rules.lock:
            path = unquote(self.path)
            self.rules.requests.append(Request(self.command, path, self._lower(), status))

    def _refuse(self, status: int, code: str, message: str = "on demand") -> None:
        self._note(status)
        text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _reset(self, after_seconds: float) -> None:
        """Close with a reset instead of an end; what was sent needs a moment to arrive."""
        self.wfile.flush()
        time.sleep(after_seconds)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.connection.close()


def unchunked(body: bytes) -> tuple[bytes, dict[str, str]]:
    """Undo S3's own chunks within a body; return the bytes and the trailers."""
    data, rest = b"", body
    while True:
        line, _, rest = rest.partition(b"\r\n")
        size = int(line.split(b";")[0], 16)
        if size == 0:
            break
        data, rest = data + rest[:size], rest[size + 2 :]
    lines = [line.partition(b":") for line in rest.split(b"\r\n") if line]
    return data, {name.decode().lower(): value.decode() for name, _, value in lines}


def mismatch(headers: dict[str, str], body: bytes) -> str:
    """Name the digest that a body does not have; an empty string if all agree."""
    digests = {
        "x-amz-checksum-sha256": hashlib.sha256(body).digest(),
        "x-amz-checksum-sha1": hashlib.sha1(body).digest(),
        "x-amz-checksum-crc32": zlib.crc32(body).to_bytes(4, "big"),
        "content-md5": hashlib.md5(body).digest(),
    }
    for name, digest in digests.items():
        if name in headers and headers[name].strip() != base64.b64encode(digest).decode():
            return name
    return ""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Be silent: clients that go away in the middle are what is tested."""


@contextmanager
def fault_proxy(endpoint: str, at: int = 0) -> Iterator[tuple[str, Rules]]:
    """Put a proxy before an S3 server, at a port; yield its endpoint, and the rules to change."""
    host, _, port = endpoint.removeprefix("http://").partition(":")
    rules = Rules((host, int(port)))
    server = _Server(("127.0.0.1", at), type("Bound", (Handler,), {"rules": rules}))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", rules
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

"""A webhook that listens on loopback and keeps what it is sent."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "token-that-stands-nowhere-else"


@dataclass
class Receiver:
    """What arrived, and how many requests it refuses first."""

    url: str = ""
    refusals: int = 0
    bodies: list[Any] = field(default_factory=list)
    asked: int = 0


@contextmanager
def webhook(refusals: int = 0) -> Iterator[Receiver]:
    receiver = Receiver(refusals=refusals)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.asked += 1
            refused = receiver.asked <= receiver.refusals or SECRET not in self.path
            if not refused:
                receiver.bodies.append(json.loads(body))
            self.send_response(503 if refused else 204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/hooks/{SECRET}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

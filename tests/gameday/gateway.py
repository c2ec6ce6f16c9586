"""The port of an S3 server as a process that can be killed; what is stored lies behind it.

`python -m tests.gameday.gateway PORT ENDPOINT` is that process. The test server keeps its objects
in memory: killed itself, it would lose what no real one loses.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fault_proxy import fault_proxy
from tests.services import free_port, listens

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0


class Gateway:
    """An S3 server's port, to be lost and to come back."""

    def __init__(self, upstream: str) -> None:
        self.port, self._upstream = free_port(), upstream
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it listens."""
        words = ["-m", "tests.gameday.gateway", str(self.port), self._upstream]
        self._process = subprocess.Popen([sys.executable, *words], cwd=ROOT)
        deadline = time.monotonic() + START_SECONDS
        while not listens(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no gateway listens on port {self.port}")
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL it: what is under way breaks off, and the port refuses."""
        if self._process:
            self._process.kill()
            self._process.wait()


@contextmanager
def gateway(upstream: str) -> Iterator[Gateway]:
    """Stand before an S3 server."""
    one = Gateway(upstream)
    one.start()
    try:
        yield one
    finally:
        one.kill()


if __name__ == "__main__":
    with fault_proxy(sys.argv[2], int(sys.argv[1])):
        signal.pause()

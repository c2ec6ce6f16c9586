"""What `srun` is on a cluster: run a command on both hosts; if one fails, end the other."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.two_hosts import Host

GRACE_SECONDS = 40.0


def main(words: list[str]) -> int:
    """Run the words here, as node 0, and on the other host, as node 1."""
    scratch = Path(os.environ["STEMWORKS_STATE"]).parent
    other = Host("stw-two", "", scratch.parent / "stw-two", scratch)
    here = _start(words, 0)
    there = _start(other.command(*words), 1)
    signal.signal(signal.SIGTERM, lambda *_: _tell(here, there))
    while here.poll() is None and there.poll() is None:
        time.sleep(0.1)
    if here.poll() or there.poll():
        _tell(here, there)
    codes = [process.wait(GRACE_SECONDS) for process in (here, there)]
    return next((code for code in codes if code), 0)


def _start(words: list[str], node: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(words, env={**os.environ, "STEMWORKS_NODE": str(node)})


def _tell(*processes: Any) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

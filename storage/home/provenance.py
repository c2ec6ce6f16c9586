"""Who made something: which code, on which machine."""

import os
import platform
import socket
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any


@cache
def code() -> dict[str, str]:
    """Say which code runs: the package's version and, in a checkout, its commit."""
    root = Path(__file__).parents[2]
    found = {"version": metadata.version("stemworks")}
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "rev-parse", "HEAD"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        found |= {"commit": answer.stdout.strip()} if answer.returncode == 0 else {}
    return found


def builder() -> dict[str, Any]:
    """Say who is building: which code, host, process and interpreter."""
    return {
        **code(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "python": platform.python_version(),
    }

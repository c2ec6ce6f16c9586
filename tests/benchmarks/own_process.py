"""A step in a process of its own, so that its peak memory is its own too.

`python -m tests.benchmarks.own_process MODULE FUNCTION ARGUMENT...` is such a process.
"""

import importlib
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

KIBI = 1024
HIGH_WATER = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


class Done(NamedTuple):
    """What a step returned, and the most memory that it held."""

    answer: dict[str, Any]
    peak_bytes: int
    """Of the largest of its processes: its own, or a child that it waited for."""


def alone(function: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Done:
    """Call `module:function` with words, in a new process; it returns a JSON object.

    Raises:
        RuntimeError: the process failed; with all that it said.
    """
    module, _, name = function.partition(":")
    words = [sys.executable, "-m", "tests.benchmarks.own_process", module, name, *arguments]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{function} {' '.join(arguments)}: {done.stdout}{done.stderr}")
    told = json.loads(done.stdout.splitlines()[-1])
    return Done(told["answer"], told["peak_bytes"])


def peak_bytes() -> int:
    """Return the most memory that this process, or the largest child it waited for, has held.

    Not `ru_maxrss` of the process itself: Linux lets a program inherit that of the process that
    started it, across `exec`. `VmHWM` begins with the program. What a child inherits is what this
    process held when it started the child, which is no more than `VmHWM`.
    """
    found = HIGH_WATER.search(Path("/proc/self/status").read_text())
    if not found:
        raise RuntimeError("/proc/self/status has no VmHWM: peak memory is known on Linux alone")
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(int(found.group(1)), children) * KIBI


def main(module: str, name: str, *arguments: str) -> None:
    """Take the step; say as JSON what it returned and took."""
    answer = getattr(importlib.import_module(module), name)(*arguments)
    sys.stdout.write(json.dumps({"answer": answer, "peak_bytes": peak_bytes()}) + "\n")
    sys.stdout.flush()
    # A step of millions of objects takes seconds to take them apart.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Processes to be killed: how each is distinguished from the others."""

import os
import signal
from pathlib import Path

from tests.processes import commands

UNREADY = "Max data size             unlimited"
"""In the limits of a packing child that has not yet been given its limit of memory."""


class StuckError(Exception):
    """A scene cannot continue: something ended, or did not appear."""


def processes(*words: str) -> list[int]:
    """Return the processes whose command lines, joined by NUL, hold all these texts."""
    found = [
        process.pid
        for process, line in commands()
        if all(word in "\0".join(["", *line, ""]) for word in words)
    ]
    return sorted(set(found) - {os.getpid()})


def kill(pids: list[int]) -> None:
    """SIGKILL processes, of which there must be some."""
    if not pids:
        raise StuckError("there is no such process to be killed")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def packers(flow: int) -> list[int]:
    """Return the packing children of a flow's process that are ready for tracks."""
    return [
        pid
        for pid in processes("pipelines.workers.isolation", f"\0{flow}\0")
        if UNREADY not in _limits(pid)
    ]


def _limits(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/limits").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return UNREADY


def trainers(run: Path) -> list[int]:
    """Return the processes that train in a run directory, their torchrun left out."""
    launchers = processes("training.torchrun", str(run))
    return [pid for pid in processes("-m\0training\0train", str(run)) if pid not in launchers]

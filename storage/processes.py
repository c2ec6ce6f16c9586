"""Processes that must not outlive the one that started them, and telling whether one still lives.

`python -m storage.processes PARENT COMMAND...` becomes COMMAND, which the kernel then ends with
the thread of process PARENT that started it, and which Ctrl-C reaches even when a script started
it in the background. PARENT is a process id; or `-`, whoever it is, below a command that was bound
so itself: torchrun, of which no worker may stay behind.
"""

import ctypes
import json
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
BOUND = "STEMWORKS_BOUND"
"""Identity of the bound process above; its children inherit it."""
BOUND_BELOW = ["-m", "storage.processes", "-", sys.executable, "-u"]
"""What a bound process gives Python, before a command's words, to have a child bound to it."""


def die_with_parent(signal_number: int = signal.SIGTERM) -> None:
    """Ask the kernel to signal this process when the thread that started it dies (Linux)."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


def boot_id() -> str:
    """Return the kernel's name for this boot; process ids mean nothing beyond it."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


def start_time(pid: int) -> str:
    """Return when a process started in kernel ticks, or an empty string if it lives no more.

    With the boot id and the pid it names a process for good, however pids are reused.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def pid_space() -> str:
    """Name the space in which a pid means one process: a boot's, or one container's within it."""
    link = Path("/proc/self/ns/pid")
    return f"{boot_id()} {link.readlink()}" if link.is_symlink() and boot_id() else ""


def identity() -> dict[str, int | str]:
    """Return what names this very process for good, on this machine and wherever its note is."""
    pid = os.getpid()
    return {"pid": pid, "boot": boot_id(), "space": pid_space(), "start": start_time(pid)}


def is_near(who: Mapping[str, Any]) -> bool:
    """Say whether a pid of `identity` means the same here: same boot, same container."""
    # What was noted before there were spaces is taken for near.
    return who.get("boot") == boot_id() and who.get("space", pid_space()) == pid_space()


def is_alive(who: Mapping[str, Any]) -> bool:
    """Say whether the process that `identity` named is near and still lives."""
    return is_near(who) and start_time(int(who["pid"])) == who.get("start")


def children(pid: int | None = None) -> list[int]:
    """Return the processes that one's threads, or this one's, have started and that live."""
    found: list[int] = []
    for path in Path(f"/proc/{pid or 'self'}/task").glob("*/children"):
        # A thread may end meanwhile.
        with suppress(FileNotFoundError, ProcessLookupError):
            found += [int(word) for word in path.read_text().split()]
    return found


def bound(command: list[str]) -> list[str]:
    """Return a command that runs `command` bound to the life of the thread that starts it."""
    return [sys.executable, "-m", "storage.processes", str(os.getpid()), *command]


def _is_gone(parent: str) -> bool:
    if parent != "-":
        return os.getppid() != int(parent)
    who = json.loads(os.environ.get(BOUND, "{}"))
    return is_near(who) and "pid" in who and not is_alive(who)


if __name__ == "__main__":
    die_with_parent()
    # The parent may have died before the kernel was asked.
    if _is_gone(sys.argv[1]):
        sys.exit(1)
    os.environ[BOUND] = json.dumps(identity())
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execvp(sys.argv[2], sys.argv[2:])

"""Processes that must not outlive the one that started them, and telling whether one still lives.

`python -m storage.processes PARENT COMMAND...` becomes COMMAND, which the kernel then ends with
the thread of process PARENT that started it, and which Ctrl-C reaches even when a script started
it in the background.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1


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


def identity() -> dict[str, int | str]:
    """Return what names this very process on this machine for good."""
    return {"pid": os.getpid(), "boot": boot_id(), "start": start_time(os.getpid())}


def is_alive(who: dict[str, int | str]) -> bool:
    """Say whether the process that `identity` named still lives."""
    return who.get("boot") == boot_id() and start_time(int(who["pid"])) == who.get("start")


def children() -> list[int]:
    """Return the processes that this one's threads have started and that live."""
    listed = Path("/proc/self/task").glob("*/children")
    return [int(pid) for path in listed for pid in path.read_text().split()]


def bound(command: list[str]) -> list[str]:
    """Return a command that runs `command` bound to the life of the thread that starts it."""
    return [sys.executable, "-m", "storage.processes", str(os.getpid()), *command]


if __name__ == "__main__":
    die_with_parent()
    # The parent may have died before the kernel was asked.
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execvp(sys.argv[2], sys.argv[2:])

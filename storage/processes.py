"""Which process is which, whether it still runs, and children that end with their parent.

`python -m storage.processes PARENT COMMAND...` becomes COMMAND, which the kernel then ends with
the thread of process PARENT that started it, and which Ctrl-C reaches even when a script started
it in the background. PARENT is a process id; or `-`: whatever the process is, below a command that
was bound the same way (torchrun, of which no worker may stay behind).

Process trees are read with psutil. What stays here is what it does not have: `prctl`, and a start
time that outlives a correction of the clock. psutil's `create_time()` is in seconds since 1970,
counted from the boot time, which Linux moves whenever the clock is set; a note on disk that held it
would then name no process.
"""

import ctypes
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage.environment import BOUND

PR_SET_PDEATHSIG = 1
BOUND_BELOW = ["-m", "storage.processes", "-", sys.executable, "-u"]
"""What a bound process gives Python, before a command's words, to have a child bound to it."""


def die_with_parent(signal_number: int = signal.SIGTERM) -> None:
    """Ask the kernel to signal this process when the thread that started it dies (Linux)."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


def boot_id() -> str:
    """Return the kernel's name for this boot, outside of which a process id means nothing."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


def start_time(pid: int) -> str:
    """Return when a process started, in kernel ticks since the boot; empty if it has ended.

    A zombie has ended. With the boot id and the pid the start time names a process for good,
    however often the pid is used again.
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


def identity(pid: int | None = None) -> dict[str, int | str]:
    """Return what names a process for good, by default this one, wherever the note of it is read.

    Args:
        pid: of a running process in this one's container.
    """
    pid = pid or os.getpid()
    return {"pid": pid, "boot": boot_id(), "space": pid_space(), "start": start_time(pid)}


def is_near(noted: Mapping[str, Any]) -> bool:
    """Say whether a pid of `identity` means the same here: same boot, same container."""
    # Notes of the first release have no pid space: they are taken to be of this container.
    return noted.get("boot") == boot_id() and noted.get("space", pid_space()) == pid_space()


def is_alive(noted: Mapping[str, Any]) -> bool:
    """Say whether the process that `identity` named is near and still runs.

    A note that names no process, such as one that was cut off, is of none that runs.
    """
    pid = noted.get("pid")
    return isinstance(pid, int) and is_near(noted) and start_time(pid) == noted.get("start")


def children(pid: int | None = None) -> list[int]:
    """Return the running processes that a process, by default this one, has started itself."""
    # Imported here: every job starts by way of this module and needs no tree.
    import psutil  # noqa: PLC0415

    parent = pid or os.getpid()
    # Not `Process.children()`: it fails altogether where /proc shows other users' processes and
    # forbids them (hidepid=1). Here what is forbidden is None.
    return [
        process.pid
        for process in psutil.process_iter(["ppid", "status"])
        if process.info["ppid"] == parent and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def bound(command: list[str]) -> list[str]:
    """Return a command that runs `command` bound to the life of the thread that starts it."""
    return [sys.executable, "-m", "storage.processes", str(os.getpid()), *command]


def _is_gone(parent: str) -> bool:
    if parent != "-":
        return os.getppid() != int(parent)
    noted = json.loads(BOUND.read() or "{}")
    return is_near(noted) and "pid" in noted and not is_alive(noted)


if __name__ == "__main__":
    die_with_parent()
    # The parent may have died before the kernel was asked.
    if _is_gone(sys.argv[1]):
        sys.exit(1)
    os.environ[BOUND.name] = json.dumps(identity())
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execvp(sys.argv[2], sys.argv[2:])

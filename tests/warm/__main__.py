"""`python -m tests.warm MODULE FOLDER`: an interpreter that forks for whoever asks it to."""

import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from storage.processes import die_with_parent

IDLE_SECONDS = 900.0
"""After which nobody is left who could ask: the session was killed."""
POLL_SECONDS = 1.0
IMPORTED = {
    "flows": ("flows.cli.run", "flows.cli.views", "flows.cli.deploy", "flows.engine.flow",
              "flows.deploy.deployments", "flows.stages.archives", "flows.stages.training"),
    "training": ("training.jobs.train", "training.jobs.evaluate", "training.jobs.select_channels",
                 "training.jobs.separate_songs", "torch._dynamo", "torch.utils.tensorboard",
                 "matplotlib.image"),
}  # fmt: skip
"""Beforehand; the module itself is not, for it is what runs."""


class Warm:
    """An interpreter that forks, and who waits for each of its forks."""

    def __init__(self, module: str, place: Path) -> None:
        self._module, self._place = module, place
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(place))
        self._listener.listen(64)
        self._waiting: dict[int, socket.socket] = {}

    def serve(self) -> None:
        """Fork for all who ask, until the socket is taken away; return in each fork, too."""
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        idle = 0.0
        while (self._waiting or self._place.exists()) and idle < IDLE_SECONDS:
            heard: list[Any] = [self._listener, woken, *self._waiting.values()]
            ready = select.select(heard, [], [], POLL_SECONDS)[0]
            idle = 0.0 if ready or self._waiting else idle + POLL_SECONDS
            if woken in ready:
                os.read(woken, 1000)
            self._reap()
            for pid in [pid for pid, waiting in self._waiting.items() if waiting in ready]:
                self._abandon(pid)
            if self._listener in ready and self._fork():
                return

    def _reap(self) -> None:
        """Tell those who wait whose forks have ended."""
        while self._waiting:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            with self._waiting.pop(pid) as connection, suppress(OSError):
                connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())

    def _abandon(self, pid: int) -> None:
        """Kill the fork of one who was killed."""
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self._waiting.pop(pid).close()

    def _fork(self) -> bool:
        """Fork for the next one who asks; say whether this is the fork, its work done."""
        connection, _ = self._listener.accept()
        try:
            asked, files = receive(connection)
        except (OSError, ValueError):
            # Killed before it had asked.
            connection.close()
            return False
        pid = os.fork()
        if not pid:
            for inherited in (self._listener, connection, *self._waiting.values()):
                inherited.close()
            become(self._module, asked, files)
            return True
        for file in files:
            os.close(file)
        self._waiting[pid] = connection
        with suppress(OSError):
            connection.sendall(f"{pid}\n".encode())
        return False


def main(module: str, folder: Path) -> None:
    """Import what a module needs, and serve it in the background."""
    for name in IMPORTED.get(module, ()):
        importlib.import_module(name)
    warm = Warm(module, folder / f"{module}.socket")
    # Whoever started this waits until here, and is not the parent of what serves.
    if not os.fork():
        warm.serve()


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Return what a process was started with, and its three open files."""
    head, files, _, _ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as stream:
        asked: dict[str, Any] = json.loads(stream.read(int.from_bytes(head, "big")))
    return asked, files


def become(module: str, asked: dict[str, Any], files: list[int]) -> None:
    """Be the process that asked, in a fork of this one, and run its module."""
    die_with_parent(signal.SIGKILL)
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(
        signal.SIGINT, signal.default_int_handler if asked["interruptible"] else signal.SIG_IGN
    )
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(write_through=asked["unbuffered"])  # type: ignore[union-attr]
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    if module == "flows":
        settle_prefect()
    sys.orig_argv, sys.argv = asked["words"], [module, *asked["given"]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def settle_prefect() -> None:
    """Let Prefect read the settings that it would find on import, once a server is found."""
    from unittest import mock  # noqa: PLC0415

    from prefect.context import refresh_global_settings_context  # noqa: PLC0415

    from flows.server.settings import ServerSettings, shared_environment  # noqa: PLC0415

    with mock.patch.dict(os.environ, shared_environment(ServerSettings.from_environment())):
        refresh_global_settings_context()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

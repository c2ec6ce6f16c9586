"""`python -m tests.warm MODULE FOLDER`: an interpreter that forks for whoever asks at its socket."""

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


class Forks:
    """The forks that run, and who waits for each."""

    def __init__(self) -> None:
        self.waiting: dict[int, socket.socket] = {}

    def reap(self) -> None:
        """Tell those who wait whose forks have ended."""
        while self.waiting:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            connection = self.waiting.pop(pid)
            with connection, suppress(OSError):
                connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())

    def abandon(self, connection: socket.socket) -> None:
        """Kill the fork of one who was killed."""
        [pid] = [pid for pid, waiting in self.waiting.items() if waiting is connection]
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.waiting.pop(pid).close()


def main(module: str, folder: Path) -> None:
    """Listen and fork until the socket is taken away."""
    for name in IMPORTED[module]:
        importlib.import_module(name)
    place = folder / module
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{place}.new")
    listener.listen(64)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    Path(f"{place}.new").rename(place)
    forks, idle = Forks(), 0.0
    while (forks.waiting or place.exists()) and idle < IDLE_SECONDS:
        ready: list[Any] = select.select(
            [listener, woken, *forks.waiting.values()], [], [], POLL_SECONDS
        )[0]
        idle = 0.0 if ready or forks.waiting else idle + POLL_SECONDS
        if woken in ready:
            os.read(woken, 1000)
        forks.reap()
        for connection in [one for one in ready if one in forks.waiting.values()]:
            forks.abandon(connection)
        if listener in ready:
            connection, _ = listener.accept()
            asked, files = receive(connection)
            pid = os.fork()
            if not pid:
                for inherited in (listener, connection, *forks.waiting.values()):
                    inherited.close()
                become(module, asked, files)
                return
            for file in files:
                os.close(file)
            forks.waiting[pid] = connection
            connection.sendall(f"{pid}\n".encode())


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

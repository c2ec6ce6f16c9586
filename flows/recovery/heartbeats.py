"""Heartbeat files: which process executes a flow run, and whether that process is alive.

Runners (`serve` and `work`) write one too: between a run's `Pending` state and its flow's first
heartbeat nothing else on this machine knows about the run.

Where a heartbeat comes from the same boot and the same container as its reader, the kernel tells
whether the process is alive. Elsewhere, as on a folder that several machines share, the process
counts as dead when its heartbeat was not renewed for `EXPIRY_SECONDS`.

Nothing here imports Prefect.
"""

import os
import shlex
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from flows.server.settings import ServerSettings
from storage.errors import ManifestError
from storage.files import read_json, write_json
from storage.processes import identity, is_alive, is_near

INTERVAL_SECONDS = 20.0
EXPIRY_SECONDS = 90.0


@dataclass(frozen=True)
class Heartbeat:
    """A file that a process keeps renewing while it is alive."""

    path: Path
    process: dict[str, Any]
    """The process, as `storage.processes.identity` describes it; empty if unreadable."""
    renewed: float
    """When it was last renewed, in seconds since 1970."""

    @property
    def is_live(self) -> bool:
        """Whether its process is alive, as far as this machine can tell."""
        if not self.process:
            return False
        if is_near(self.process):
            return is_alive(self.process)
        return time.time() - self.renewed < EXPIRY_SECONDS

    def remove(self) -> None:
        """Delete the file, unless another process has renewed it meanwhile."""
        with suppress(FileNotFoundError):
            if self.path.stat().st_mtime == self.renewed:
                self.path.unlink()


class RunHeartbeat(Heartbeat):
    """The heartbeat of a process that executes a flow run."""

    @property
    def flow_run(self) -> UUID:
        """The id of the flow run."""
        return UUID(self.path.stem)

    @property
    def command(self) -> str:
        """The command line that started the run; empty if no command line did."""
        return str(self.process.get("command", ""))


class RunnerHeartbeat(Heartbeat):
    """The heartbeat of a process that starts deployed runs; the file stays when it ends."""

    @property
    def deployments(self) -> list[UUID]:
        """The deployments that it serves; empty if it works for a pool."""
        return [UUID(deployment) for deployment in self.process.get("deployments", [])]

    @property
    def pool(self) -> str:
        """The work pool that it works for; empty if it serves deployments."""
        return str(self.process.get("pool", ""))


class SlotHeartbeat(Heartbeat):
    """The heartbeat of a run that holds slots of a limit of this machine."""

    @property
    def limit(self) -> str:
        """The name of the limit."""
        return str(self.process.get("limit", ""))

    def __str__(self) -> str:
        return f"{self.process.get('run', 'a run')} (pid {self.process.get('pid', 'unknown')})"


def run_heartbeats() -> list[RunHeartbeat]:
    """Return the heartbeats of this user's flow runs, live or dead."""
    folder = ServerSettings.from_environment().run_heartbeats
    return [RunHeartbeat(*found) for found in _read_folder(folder)]


def runner_heartbeats() -> list[RunnerHeartbeat]:
    """Return the heartbeats of this user's runners, live or dead."""
    folder = ServerSettings.from_environment().runner_heartbeats
    return [RunnerHeartbeat(*found) for found in _read_folder(folder)]


def slot_heartbeats(limit: str) -> list[SlotHeartbeat]:
    """Return the heartbeats of live runs that hold slots of a limit; remove those of dead ones."""
    folder = ServerSettings.from_environment().slot_heartbeats
    found = [SlotHeartbeat(*one) for one in _read_folder(folder)]
    for dead in (one for one in found if not one.is_live):
        dead.remove()
    return [one for one in found if one.is_live and one.limit == limit]


def _read_folder(folder: Path) -> Iterator[tuple[Path, dict[str, Any], float]]:
    for path in sorted(folder.glob("*.json")):
        process: dict[str, Any] = {}
        # A file that a crash cut short names no process, and counts as dead.
        with suppress(ManifestError):
            process = read_json(path)
        with suppress(FileNotFoundError):
            yield path, process, path.stat().st_mtime


@contextmanager
def run_heartbeat(flow_run: UUID, deployed: bool = False) -> Iterator[None]:
    """Keep a heartbeat while this process executes a flow run.

    When the process of a deployed run is asked to stop, the file stays: the next `serve`, `work`
    or `status` then restarts the run, as it does after a crash. So a machine can be rebooted.
    """
    path = ServerSettings.from_environment().run_heartbeats / f"{flow_run}.json"
    asked_to_stop = False
    try:
        with _renewed(path, {"command": _command_line()}):
            yield
    except BaseException as error:
        asked_to_stop = not isinstance(error, (Exception, KeyboardInterrupt))
        raise
    finally:
        if not (asked_to_stop and deployed):
            path.unlink(missing_ok=True)


@contextmanager
def runner_heartbeat(deployments: Iterable[UUID] = (), pool: str = "") -> Iterator[None]:
    """Keep a heartbeat while this process starts the runs of these deployments, or of this pool.

    The file stays when the process ends, however it ends: a run may still be `Pending` whose flow
    was stopped while it was starting. Crash detection finds such runs by this file.
    """
    path = ServerSettings.from_environment().runner_heartbeats / f"{uuid4()}.json"
    served = [str(deployment) for deployment in deployments]
    with _renewed(path, {"deployments": served, "pool": pool}):
        yield


@contextmanager
def slot_heartbeat(limit: str, run: str) -> Iterator[None]:
    """Keep a heartbeat while this process holds slots of a limit, for the sake of who waits."""
    path = ServerSettings.from_environment().slot_heartbeats / f"{uuid4()}.json"
    try:
        with _renewed(path, {"limit": limit, "run": run}):
            yield
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _renewed(path: Path, facts: dict[str, Any]) -> Iterator[None]:
    write_json(path, identity() | facts)
    over = threading.Event()
    thread = threading.Thread(target=_renew, args=(path, over), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _renew(path: Path, over: threading.Event) -> None:
    while not over.wait(INTERVAL_SECONDS):
        # The disk is full, or the file was deleted as that of a dead process: the run continues.
        with suppress(OSError):
            os.utime(path)


def _command_line() -> str:
    """Return the `stemworks run` command of this process, or an empty string if it has none."""
    is_run = Path(sys.argv[0]).name in ("stemworks", "__main__.py") and "run" in sys.argv[1:2]
    return shlex.join(["stemworks", *sys.argv[1:]]) if is_run else ""

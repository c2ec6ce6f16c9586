"""Notes on the runs that processes are doing: who does which, and that he still lives.

Those who take up deployed runs leave one, too: between a run's `Pending` and its flow's own note
nobody else on this machine knows of it.
Where a note and whoever reads it are of one boot and one container, the kernel tells whether its
process lives. Elsewhere, as on a folder that machines share, a note counts as dead when it was not
renewed for `EXPIRY_SECONDS`.
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

BEAT_SECONDS = 20.0
EXPIRY_SECONDS = 90.0


@dataclass(frozen=True)
class Heartbeat:
    """What a process leaves here so that others know whether it lives."""

    path: Path
    holder: dict[str, Any]
    beaten: float
    """When it was renewed last, in seconds since 1970."""

    @property
    def is_live(self) -> bool:
        """Say whether its process may still live."""
        if not self.holder:
            return False
        if is_near(self.holder):
            return is_alive(self.holder)
        return time.time() - self.beaten < EXPIRY_SECONDS

    def drop(self) -> None:
        """Take it away, unless another process has renewed it meanwhile."""
        with suppress(FileNotFoundError):
            if self.path.stat().st_mtime == self.beaten:
                self.path.unlink()


class RunHeartbeat(Heartbeat):
    """What is known of the process that does a flow run."""

    @property
    def flow_run(self) -> UUID:
        """The flow run that it is about."""
        return UUID(self.path.stem)

    @property
    def command(self) -> str:
        """The command that began the run; empty if no command line did."""
        return str(self.holder.get("command", ""))


class RunnerHeartbeat(Heartbeat):
    """What is known of a process that takes up deployed runs, or did until it ended."""

    @property
    def deployments(self) -> list[UUID]:
        """Whose runs it takes up; none if it works for a pool."""
        return [UUID(one) for one in self.holder.get("deployments", [])]

    @property
    def pool(self) -> str:
        """The work pool whose runs it takes up; empty if it serves deployments."""
        return str(self.holder.get("pool", ""))


def run_heartbeats() -> list[RunHeartbeat]:
    """Return the notes of this user's runs."""
    return [RunHeartbeat(*found) for found in _found(ServerSettings.from_environment().live_runs)]


def runner_heartbeats() -> list[RunnerHeartbeat]:
    """Return the notes of this user's processes that take up deployed runs, or did."""
    return [RunnerHeartbeat(*found) for found in _found(ServerSettings.from_environment().takers)]


def _found(folder: Path) -> Iterator[tuple[Path, dict[str, Any], float]]:
    for path in sorted(folder.glob("*.json")):
        holder: dict[str, Any] = {}
        # One cut off by a crash is of nobody.
        with suppress(ManifestError):
            holder = read_json(path)
        with suppress(FileNotFoundError):
            yield path, holder, path.stat().st_mtime


@contextmanager
def registered(flow_run: UUID, deployed: bool = False) -> Iterator[None]:
    """Leave a note that this process is doing this flow run, for as long as it does.

    Of a deployed run whose process is told to end, it stays: whoever serves next lets it begin
    again, as it does with one that was killed. So a machine may be started anew.
    """
    path = ServerSettings.from_environment().live_runs / f"{flow_run}.json"
    told = False
    try:
        with _beating(path, {"command": _command()}):
            yield
    except BaseException as error:
        told = not isinstance(error, (Exception, KeyboardInterrupt))
        raise
    finally:
        if not (told and deployed):
            path.unlink(missing_ok=True)


@contextmanager
def taking_up(deployments: Iterable[UUID] = (), pool: str = "") -> Iterator[None]:
    """Leave a note that this process takes up the runs of these deployments, or of this pool.

    It stays when the process ends, however it ends: a run may be `Pending` whose flow was told to
    stop while it was still being started. Who looks next finds out.
    """
    path = ServerSettings.from_environment().takers / f"{uuid4()}.json"
    with _beating(path, {"deployments": [str(one) for one in deployments], "pool": pool}):
        yield


@contextmanager
def _beating(path: Path, facts: dict[str, Any]) -> Iterator[None]:
    write_json(path, identity() | facts)
    over = threading.Event()
    beater = threading.Thread(target=_beat, args=(path, over), name="live run", daemon=True)
    beater.start()
    try:
        yield
    finally:
        over.set()
        beater.join()


def _beat(path: Path, over: threading.Event) -> None:
    while not over.wait(BEAT_SECONDS):
        # On a full disk, or taken for dead and swept away: the run goes on all the same.
        with suppress(OSError):
            os.utime(path)


def _command() -> str:
    """Return the words of our own command line, or nothing if this process was begun otherwise."""
    ours = Path(sys.argv[0]).name in ("stemworks", "__main__.py") and "run" in sys.argv[1:2]
    return shlex.join(["stemworks", *sys.argv[1:]]) if ours else ""

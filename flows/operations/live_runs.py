"""Notes on the runs that processes are doing: who does which, and that he still lives.

Where a note and whoever reads it are of one boot and one container, the kernel tells whether its
process lives. Elsewhere, as on a folder that machines share, a note counts as dead when it was not
renewed for `EXPIRY_SECONDS`.
"""

import os
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from flows.operations.settings import Place
from storage.errors import ManifestError
from storage.files import read_json, write_json
from storage.processes import identity, is_alive, is_near

BEAT_SECONDS = 20.0
EXPIRY_SECONDS = 90.0


@dataclass(frozen=True)
class Note:
    """What is known of the process that does a flow run."""

    path: Path
    holder: dict[str, Any]
    beaten: float
    """When it was renewed last, in seconds since 1970."""

    @property
    def flow_run(self) -> UUID:
        """The flow run that it is about."""
        return UUID(self.path.stem)

    @property
    def command(self) -> str:
        """The command that began the run; empty if no command line did."""
        return str(self.holder.get("command", ""))

    @property
    def pid(self) -> int | None:
        """The process, where a pid of its means anything here and it lives."""
        return int(self.holder["pid"]) if self.holder and is_alive(self.holder) else None

    @property
    def is_live(self) -> bool:
        """Say whether its process may still live."""
        if not self.holder:
            return False
        if is_near(self.holder):
            return is_alive(self.holder)
        return time.time() - self.beaten < EXPIRY_SECONDS

    def drop(self) -> None:
        """Take the note away, unless another process has renewed it meanwhile."""
        with suppress(FileNotFoundError):
            if self.path.stat().st_mtime == self.beaten:
                self.path.unlink()


def notes() -> list[Note]:
    """Return the notes of this user's runs."""
    found = []
    for path in sorted(Place.from_environment().live_runs.glob("*.json")):
        holder: dict[str, Any] = {}
        # One cut off by a crash is of nobody.
        with suppress(ManifestError):
            holder = read_json(path)
        with suppress(FileNotFoundError):
            found.append(Note(path, holder, path.stat().st_mtime))
    return found


@contextmanager
def registered(flow_run: UUID) -> Iterator[None]:
    """Leave a note that this process is doing this flow run, for as long as it does."""
    path = Place.from_environment().live_runs / f"{flow_run}.json"
    write_json(path, identity() | {"command": _command()})
    over = threading.Event()
    beater = threading.Thread(target=_beat, args=(path, over), name="live run", daemon=True)
    beater.start()
    try:
        yield
    finally:
        over.set()
        beater.join()
        path.unlink(missing_ok=True)


def _beat(path: Path, over: threading.Event) -> None:
    while not over.wait(BEAT_SECONDS):
        # On a full disk, or taken for dead and swept away: the run goes on all the same.
        with suppress(OSError):
            os.utime(path)


def _command() -> str:
    """Return the words of our own command line, or nothing if this process was begun otherwise."""
    ours = Path(sys.argv[0]).name in ("stemworks", "__main__.py") and "run" in sys.argv[1:2]
    return shlex.join(["stemworks", *sys.argv[1:]]) if ours else ""

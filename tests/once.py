"""What all workers of one session of tests share: made once, by whoever comes first."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "alone")
"""The name of this worker among those of the session."""


def session_folder(factory: pytest.TempPathFactory, name: str) -> Path:
    """Return a folder that is the same for every worker of this session, and of no other one."""
    own = factory.getbasetemp()
    folder = (own if WORKER == "alone" else own.parent) / name
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Do something in a folder that is shared, while no other worker does."""
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def together(folder: Path, begin: Callable[[], None], end: Callable[[], None]) -> Iterator[None]:
    """Use what `begin` starts for all workers, and `end` stops after the last one has left.

    A lock says that a worker is here: one that is killed leaves by that, too.
    """
    begun = folder / "begun"
    with (folder / "users").open("a") as users:
        with one_at_a_time(folder):
            if not begun.exists():
                try:
                    begin()
                except BaseException:
                    end()
                    raise
                begun.touch()
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield
        finally:
            with one_at_a_time(folder):
                try:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    pass
                else:
                    begun.unlink()
                    end()

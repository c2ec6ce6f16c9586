"""A folder that a job writes here and that another machine can take up: kept alike in a bucket.

A run directory grows while its job runs. Its files are sent as they settle, in the order in which
they were written, so that a checkpoint's note never arrives before its weights; what the job
deletes is deleted there too. In a home that is a folder there is nothing to do.
"""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from storage.errors import StemworksError
from storage.files import hash_file
from storage.home.layout import Home

EVERY_SECONDS = 30.0
AT_ONCE = 8

logger = logging.getLogger(__name__)


class Mirror:
    """One folder of a home and what is kept of it in the home's bucket."""

    def __init__(self, home: Home, folder: Path) -> None:
        self._home, self._folder = home, folder
        self._sent: dict[Path, tuple[int, int]] = {}

    @contextmanager
    def kept(self, every_seconds: float = EVERY_SECONDS) -> Iterator[None]:
        """Take up what the bucket holds of the folder, then send what changes until the end."""
        if not self._home.remote:
            yield
            return
        self.pull()
        over = threading.Event()
        sender = threading.Thread(target=self._keep, args=(over, every_seconds), daemon=True)
        sender.start()
        try:
            yield
        finally:
            over.set()
            sender.join()
            self.push()

    def pull(self) -> None:
        """Fetch what is not here, or is longer there: what a job appends to only ever grows."""
        lacking = []
        for name, seen in self._home.store.listing(self._home.relative(self._folder)).items():
            path = self._home.path(name)
            here = path.stat().st_size if path.is_file() else -1
            if here < seen.bytes:
                lacking.append(path)
            self._sent[path] = (-1, -1)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._home.fetch, lacking))

    def push(self) -> None:
        """Send what changed since it was sent last; delete there what is gone here."""
        now = self._settled()
        for path, state in sorted(now.items(), key=lambda item: item[1][::-1]):
            if self._sent.get(path) == state:
                continue
            try:
                self._home.store.put(self._home.relative(path), path, hash_file(path))
            except FileNotFoundError:
                # An old checkpoint, deleted since it was listed.
                continue
            self._sent[path] = state
        for path in self._sent.keys() - now.keys():
            self._home.remove(path)
            del self._sent[path]

    def _keep(self, over: threading.Event, every_seconds: float) -> None:
        while not over.wait(every_seconds):
            try:
                self.push()
            except (StemworksError, OSError) as error:
                # The job goes on: the next round, or the last one, sends what this one could not.
                logger.warning("%s is not sent yet: %s", self._folder, error)

    def _settled(self) -> dict[Path, tuple[int, int]]:
        """Return size and time of every file, those left out that are still being written."""
        found = {}
        for path in self._folder.rglob("*"):
            parts = path.relative_to(self._folder).parts
            if any(part.startswith(".") for part in parts) or path.suffix == ".lock":
                continue
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            if path.is_file():
                found[path] = (status.st_size, status.st_mtime_ns)
        return found

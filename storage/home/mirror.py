"""A run directory kept in step with its copy in a bucket, so that another machine can resume it.

A run directory grows while its job runs. Finished files are uploaded in the order in which they
were written, so that a checkpoint's JSON never arrives before its weights; what the job deletes is
deleted in the bucket, too. In a home that is a folder there is nothing to do.
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

UPLOAD_SECONDS = 30.0
CONCURRENCY = 8

logger = logging.getLogger(__name__)


class Mirror:
    """One folder of a home and its copy in the home's bucket."""

    def __init__(self, home: Home, folder: Path) -> None:
        self._home, self._folder = home, folder
        self._sent: dict[Path, tuple[int, int]] = {}

    @contextmanager
    def synchronised(self, every_seconds: float = UPLOAD_SECONDS) -> Iterator[None]:
        """Download what the bucket has of the folder, then upload changes until the block ends."""
        if not self._home.remote:
            yield
            return
        self.pull()
        over = threading.Event()
        sender = threading.Thread(
            target=self._upload_regularly, args=(over, every_seconds), daemon=True
        )
        sender.start()
        try:
            yield
        finally:
            over.set()
            sender.join()
            self.push()

    def pull(self) -> None:
        """Download files that are missing here or longer there: a job only ever appends."""
        missing = []
        for name, seen in self._home.store.listing(self._home.relative(self._folder)).items():
            path = self._home.path(name)
            here = path.stat().st_size if path.is_file() else -1
            if here < seen.bytes:
                missing.append(path)
            self._sent[path] = (-1, -1)
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            list(pool.map(self._home.fetch, missing))

    def push(self) -> None:
        """Upload files changed since their last upload; delete those that were deleted here."""
        now = self._finished_files()
        for path, state in sorted(now.items(), key=lambda item: item[1][::-1]):
            if self._sent.get(path) == state:
                continue
            try:
                self._home.store.put(self._home.relative(path), path, hash_file(path))
            except FileNotFoundError:
                # An old checkpoint that was deleted since it was listed.
                continue
            self._sent[path] = state
        for path in self._sent.keys() - now.keys():
            self._home.remove(path)
            del self._sent[path]

    def _upload_regularly(self, over: threading.Event, every_seconds: float) -> None:
        while not over.wait(every_seconds):
            try:
                self.push()
            except (StemworksError, OSError) as error:
                # The job continues: a later upload sends what this one could not.
                logger.warning(
                    "cannot upload %s; trying again in %g s: %s",
                    self._folder,
                    every_seconds,
                    error,
                )

    def _finished_files(self) -> dict[Path, tuple[int, int]]:
        """Return size and time of every file that is not being written any more."""
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

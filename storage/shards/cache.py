"""Shards of a bucket on this machine: each fetched once per host, verified, bounded in bytes.

::

    <folder>/<sha256>            one whole shard, named by its content
    <folder>/arriving/<sha256>   one that is being fetched: as long as it will be, so that it counts
    <folder>/locks/              one per shard that was fetched, and one for making room

A file is trusted for its name and its size; its readers check the sound, and discard a file
that fails. Files with other names are left alone. The file used longest ago makes room first: a
process that has it open reads on, as the kernel keeps its bytes until it is closed.
"""

import contextlib
import fcntl
import logging
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from storage.errors import IntegrityError, LockedError, MachineError, ManifestError, SourceError
from storage.files import disk_errors, hash_file, only_one
from storage.records import ShardInfo
from storage.stores.base import Store

DIGEST = re.compile(r"[0-9a-f]{64}")
USED_EVERY_SECONDS = 10.0
"""How exactly it is known when a file was used last."""
AT_ONCE = 4
"""Shards that a process fetches side by side."""

logger = logging.getLogger(__name__)


class ShardCache:
    """A folder of shards, shared by all processes of a host."""

    def __init__(self, folder: Path, limit: int) -> None:
        """Use a folder.

        Args:
            folder: made where it is missing.
            limit: bytes of shards that it may hold, those arriving included.
        """
        self.folder, self.limit = folder, limit
        self._arriving, self._locks = folder / "arriving", folder / "locks"
        self._used: dict[str, float] = {}

    def read(self, shard: ShardInfo, start: int, length: int) -> bytes | None:
        """Return `length` bytes of a shard from `start` on; None if the shard is not here."""
        try:
            with self._path(shard).open("rb", buffering=0) as stream:
                whole = os.fstat(stream.fileno()).st_size == shard.bytes
                data = os.pread(stream.fileno(), length, start) if whole else b""
        except OSError:
            return None
        if len(data) != length:
            self.discard(shard)
            return None
        self._note_use(shard)
        return data

    def holds(self, shard: ShardInfo) -> bool:
        """Say whether a shard is here, by its name and size."""
        try:
            return self._path(shard).stat().st_size == shard.bytes
        except OSError:
            return False

    def discard(self, shard: ShardInfo) -> None:
        """Forget a shard whose bytes are wrong."""
        logger.warning("shard %s is damaged in the cache %s: removed", shard.name, self.folder)
        with disk_errors(self.folder):
            self._path(shard).unlink(missing_ok=True)

    def fetch(self, shard: ShardInfo, store: Store, name: str) -> bool:
        """Bring a shard here from a store; say whether it is here now.

        It is not if another process is fetching it, or if there is no room for it.

        Raises:
            IntegrityError: what the store holds is not the shard.
            ManifestError: the store holds no such shard.
            MachineError: the disk is full, read-only or forbidden.
            SourceError: the store does not answer.
        """
        if self.holds(shard):
            return True
        try:
            with only_one(self._lock(shard.sha256), f"fetching shard {shard.name}"):
                if self.holds(shard):
                    return True
                if not self._make_room(shard):
                    return False
                self._bring(shard, store, name)
        except LockedError:
            return False
        return True

    def _bring(self, shard: ShardInfo, store: Store, name: str) -> None:
        target = self._arriving / shard.sha256
        with disk_errors(self.folder):
            try:
                store.get(name, target)
                size, digest = target.stat().st_size, hash_file(target)
                if (size, digest) != (shard.bytes, shard.sha256):
                    raise IntegrityError(
                        f"shard {name} in {store.url} is damaged: {size} bytes with sha256 "
                        f"{digest[:12]}, not {shard.bytes} with {shard.sha256[:12]}; run the study "
                        "again to rebuild it"
                    )
                target.replace(self._path(shard))
            finally:
                target.unlink(missing_ok=True)

    def _make_room(self, shard: ShardInfo) -> bool:
        """Reserve a shard's bytes, deleting what was used longest ago; False if it cannot fit."""
        with disk_errors(self.folder), self._alone():
            self._arriving.mkdir(exist_ok=True)
            # A file of the right name that got this far has the wrong size.
            self._path(shard).unlink(missing_ok=True)
            self._clear_remains(shard.sha256)
            files = sorted(_digests(self.folder), key=lambda file: file[1].st_mtime_ns)
            reserved = sum(status.st_size for _, status in _digests(self._arriving))
            room = self.limit - shard.bytes - reserved
            held = sum(status.st_size for _, status in files)
            if room < 0:
                return False
            for path, status in files:
                if held <= room:
                    break
                path.unlink(missing_ok=True)
                held -= status.st_size
            with (self._arriving / shard.sha256).open("wb") as stream:
                stream.truncate(shard.bytes)
            return True

    def _clear_remains(self, own: str) -> None:
        """Delete what killed processes left half fetched: their locks are free."""
        for path in list(self._arriving.iterdir()):
            found = DIGEST.search(path.name)
            if found is None:
                continue
            with contextlib.suppress(LockedError), contextlib.ExitStack() as stack:
                if found[0] != own:
                    stack.enter_context(only_one(self._lock(found[0]), "fetching a shard"))
                path.unlink(missing_ok=True)

    def _note_use(self, shard: ShardInfo) -> None:
        now = time.monotonic()
        if now - self._used.get(shard.sha256, -math.inf) < USED_EVERY_SECONDS:
            return
        self._used[shard.sha256] = now
        # It may have made room by now, or be on a disk that is read-only here.
        with contextlib.suppress(OSError):
            os.utime(self._path(shard))

    def _path(self, shard: ShardInfo) -> Path:
        return self.folder / shard.sha256

    def _lock(self, digest: str) -> Path:
        return self._locks / f"{digest}.lock"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self._locks / "room.lock").open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


class FetchAhead:
    """Threads that bring shards into the cache before they are needed.

    What they cannot bring is read from the store instead, except that a damaged or missing shard
    is an error, which `check` raises.
    """

    def __init__(
        self, cache: ShardCache, store: Store, name_of: Callable[[ShardInfo], str]
    ) -> None:
        self._cache, self._store, self._name_of = cache, store, name_of
        self._changed = threading.Condition()
        self._wanted: list[ShardInfo] = []
        self._busy, self._closed = 0, False
        self._failure: Exception | None = None
        self._threads: list[threading.Thread] = []

    def want(self, shards: Sequence[ShardInfo]) -> None:
        """Bring these shards, in this order, instead of what was wanted before."""
        with self._changed:
            if self._closed:
                return
            self._wanted = [shard for shard in shards if not self._cache.holds(shard)]
            while len(self._threads) < min(AT_ONCE, len(self._wanted)):
                # Daemons: a job that is over does not wait for what it no longer needs.
                thread = threading.Thread(target=self._run, name="fetch-ahead", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify_all()

    def check(self) -> None:
        """Raise the error that ended the fetching, if one did."""
        if self._failure is not None:
            raise self._failure

    def wait(self) -> None:
        """Return when nothing is wanted any more."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy and not self._wanted)

    def close(self) -> None:
        """End the threads, each after the shard that it is fetching."""
        self._stop()
        for thread in self._threads:
            thread.join()

    def _stop(self) -> None:
        with self._changed:
            self._wanted, self._closed = [], True
            self._changed.notify_all()

    def _run(self) -> None:
        while (shard := self._next()) is not None:
            try:
                self._cache.fetch(shard, self._store, self._name_of(shard))
            except (MachineError, SourceError, OSError) as error:
                logger.warning("shard %s is read without a cache: %s", shard.name, error)
            except (IntegrityError, ManifestError) as error:
                self._failure = error
                self._stop()
            finally:
                with self._changed:
                    self._busy -= 1
                    self._changed.notify_all()

    def _next(self) -> ShardInfo | None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._wanted) or self._closed)
            if self._closed:
                return None
            self._busy += 1
            return self._wanted.pop(0)


def _digests(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """Return the files of a folder that are named by their content."""
    found = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if DIGEST.fullmatch(path.name):
                found.append((path, path.stat()))
    return found

"""Completion marks: which work is done, from which inputs, with which outputs.

A mark exists if and only if its work is done. It is written last and atomically, under a key
made of everything that decides the result; it names every output with size and sha256. A mark
with missing or altered outputs counts as missing. Later stages are keyed by the *content* of
these outputs, so rebuilding the same bytes leaves them done.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from storage.config import Json, digest_of
from storage.errors import ManifestError
from storage.files import clear_remains, hash_file
from storage.home.layout import Home
from storage.home.provenance import builder
from storage.records import Record, plain
from storage.stores.base import FolderStore, Seen

CONCURRENCY = 16
"""Concurrent requests to a store that look up marks or download outputs."""
FEW_OUTPUTS = 8
"""Up to so many outputs are looked up one by one, more by listing their folders."""
CHUNK_BYTES = 64 << 20
"""Read at a time from an object whose checksum is computed."""
Look = Callable[[str], Seen | None]


class Output(Record):
    """One file that a stage produced."""

    path: str
    """Relative to the home, or absolute if outside."""
    label: str
    """The role of the file in its stage; part of the digest together with the content."""
    bytes: int
    sha256: str
    version: str
    """A file's time or an object's ETag; while it is the same, the content is not read again."""
    about: bool = False
    """Whether it only describes the others to people, and is no part of the digest."""


class Mark(Record):
    """The completion mark of one piece of work."""

    stage: str
    version: int
    key: str
    config: Json
    inputs: dict[str, str]
    """Digest of each input's outputs."""
    outputs: tuple[Output, ...]
    digest: str
    """Digest of the outputs' labels and contents."""
    facts: Json
    """Small results to show: counts, scores."""
    seconds: float
    built_by: Json
    finished: str

    def path(self, home: Home, label: str) -> Path:
        """Return the output with this label, on this machine.

        Raises:
            ManifestError: there is no output with this label.
        """
        for output in self.outputs:
            if output.label == label:
                return home.fetch(home.path(output.path), output.sha256)
        raise ManifestError(f"stage {self.stage} ({self.key}) has no output '{label}'")

    @property
    def size(self) -> int:
        """Total size of all outputs in bytes."""
        return sum(output.bytes for output in self.outputs)


@dataclass(frozen=True)
class Work:
    """One piece of work, identified by everything that decides its result."""

    stage: str
    version: int
    config: Json
    inputs: Mapping[str, str]

    @property
    def key(self) -> str:
        """Sixteen hex digits that identify this work."""
        return digest_of([self.stage, self.version, self.config, dict(self.inputs)])[:16]

    @property
    def name(self) -> str:
        """A file-name-safe name, unique to this work."""
        return f"{self.stage}-{self.key}"


@dataclass(frozen=True)
class Lookup:
    """Whether work is done, and if not, why not."""

    mark: Mark | None
    why: str = ""
    """Which output is missing or altered; empty if there is no mark at all."""


def lookup(home: Home, work: Work, deep: bool = False) -> Lookup:
    """Return whether work is done; `deep` reads every output instead of trusting its version."""
    return _lookup(home, work, deep, None)


def lookup_all(home: Home, works: Sequence[Work], deep: bool = False) -> list[Lookup]:
    """Return which works are done, in order; a bucket is listed instead of asked for each."""
    if not home.remote:
        return [lookup(home, work, deep) for work in works]
    look = _Listed(home)
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        return list(pool.map(lambda work: _lookup(home, work, deep, look), works))


def _lookup(home: Home, work: Work, deep: bool, look: Look | None) -> Lookup:
    path = home.mark(work.stage, work.key)
    if look and look(home.relative(path)) is None:
        return Lookup(None, "")
    try:
        text = home.read(path)
    except ManifestError:
        return Lookup(None, "")
    try:
        mark = Mark.model_validate_json(text)
    except ValidationError:
        return Lookup(None, "its mark is unreadable")
    fault = find_fault(home, mark, deep, look)
    return Lookup(None, fault) if fault else Lookup(mark)


def find_fault(home: Home, mark: Mark, deep: bool = False, look: Look | None = None) -> str:
    """Return which output of a mark is missing or altered; empty if none is."""
    if look is None:
        look = _Listed(home) if home.remote and len(mark.outputs) > FEW_OUTPUTS else home.seen
    for output in mark.outputs:
        seen = look(output.path)
        if seen is None:
            return f"{output.path} is missing"
        if seen.bytes != output.bytes:
            return f"{output.path} has {seen.bytes} bytes instead of {output.bytes}"
        same_version = seen.version == output.version
        if same_version and not deep:
            continue
        if _hash(home, output) != output.sha256:
            return f"{output.path} has been altered"
        if not same_version and _is_file(home, output):
            _restore_time(home.path(output.path), seen, output)
    return ""


def find_faults(home: Home, marks: Sequence[Mark], deep: bool = False) -> list[str]:
    """Return the result of `find_fault` for each mark, in order."""
    look = _Listed(home) if home.remote else home.seen
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        return list(pool.map(lambda mark: find_fault(home, mark, deep, look), marks))


def fetch(home: Home, marks: Iterable[Mark], wanted: Callable[[Output], bool]) -> None:
    """Download those outputs that are not on this machine, several at a time."""
    if not home.remote:
        return
    outputs = [output for mark in marks for output in mark.outputs if wanted(output)]
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(lambda one: home.fetch(home.path(one.path), one.sha256), outputs))


def commit(
    home: Home,
    work: Work,
    outputs: Mapping[str, Path],
    facts: Json,
    seconds: float,
    about: Collection[str] = (),
) -> Mark:
    """Write and return the mark of finished work. The caller holds the work's lock.

    Args:
        home: where the mark is written.
        work: what was done.
        outputs: finished files by their labels.
        facts: small results to show.
        seconds: how long the work took.
        about: labels of files that only describe the others; the digest is without them.

    Raises:
        ManifestError: an output does not exist.
    """
    clear_remains(home.mark(work.stage, work.key))
    made = sorted(outputs.items())
    described = tuple(_describe(home, label, path, label in about) for label, path in made)
    mark = Mark(
        stage=work.stage,
        version=work.version,
        key=work.key,
        config=work.config,
        inputs=dict(work.inputs),
        outputs=described,
        digest=digest_of([[one.label, one.sha256] for one in described if not one.about]),
        facts=facts,
        seconds=round(seconds, 3),
        built_by=builder(),
        finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    text = json.dumps(plain(mark), indent=2, sort_keys=True, allow_nan=False) + "\n"
    home.write(home.mark(work.stage, work.key), text.encode())
    return mark


def all_marks(home: Home) -> Iterable[Mark]:
    """Yield every readable mark of a home, sorted by name."""
    names = [name for name in home.store.listing("marks") if name.endswith(".json")]
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        for text in pool.map(home.store.read, sorted(names)):
            with suppress(ValidationError):
                yield Mark.model_validate_json(text)


def forget(home: Home, mark: Mark) -> None:
    """Delete a mark: its work counts as not done."""
    home.remove(home.mark(mark.stage, mark.key))


class _Listed:
    """Looks up many objects by few listings: one for each corpus, run or stage of marks."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._folders: dict[str, dict[str, Seen]] = {}
        self._lock = threading.Lock()

    def __call__(self, spelled: str) -> Seen | None:
        if Path(spelled).is_absolute():
            return self._home.seen(spelled)
        # The first two parts of the path, or fewer for a file that is directly in a top folder.
        folder = "/".join(spelled.split("/")[:-1][:2])
        with self._lock:
            if folder not in self._folders:
                self._folders[folder] = self._home.store.listing(folder)
            return self._folders[folder].get(spelled)


def _hash(home: Home, output: Output) -> str:
    """Read a whole output from the store; return its sha256."""
    if _is_file(home, output):
        return hash_file(home.path(output.path))
    digest = hashlib.sha256()
    for start in range(0, output.bytes, CHUNK_BYTES):
        length = min(CHUNK_BYTES, output.bytes - start)
        digest.update(home.store.read(output.path, start, length))
    return digest.hexdigest()


def _is_file(home: Home, output: Output) -> bool:
    return not home.remote or Path(output.path).is_absolute()


def _restore_time(path: Path, seen: Seen, output: Output) -> None:
    """Restore the time of a copied file, so that it is not read again at each lookup.

    A file that changed while it was read keeps its time, as does one in a read-only home.
    """
    with suppress(OSError):
        status = path.stat()
        if str(status.st_mtime_ns) == seen.version:
            os.utime(path, ns=(status.st_atime_ns, int(output.version)))


def _describe(home: Home, label: str, path: Path, about: bool) -> Output:
    # The version is taken before the content is read: a change in between is then noticed.
    seen = FolderStore(path.parent).seen(path.name)
    if seen is None:
        raise ManifestError(f"{path}, the output '{label}', does not exist; run the stage again")
    sha256 = hash_file(path)
    if home.remote and home.holds(path):
        seen = home.store.put(home.relative(path), path, sha256)
    return Output(
        path=home.relative(path),
        label=label,
        bytes=seen.bytes,
        sha256=sha256,
        version=seen.version,
        about=about,
    )

"""Completion marks: what is done, out of what, with which result. Idempotence lives here.

A mark exists if and only if its work is done. It is written last and atomically, under a key
made of everything that decides the result; it names every output with size and sha256. A mark
whose outputs are gone or altered counts as missing. What follows is keyed by the outputs'
*content*, so rebuilding the same bytes leaves it done.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from storage.config import Json, digest_of
from storage.errors import ManifestError
from storage.files import clear_remains, hash_file
from storage.home.layout import Home
from storage.provenance import builder
from storage.records import Record, plain
from storage.stores.base import FolderStore, Seen

AT_ONCE = 16
"""Requests to a store at a time, where many marks are looked up or many outputs fetched."""
FEW = 8
"""Outputs up to which each is looked at by itself, and not by listing its folder."""

STRETCH = 64 << 20
"""Bytes read at a time of an object that is compared with its checksum."""

Look = Callable[[str], Seen | None]


class Output(Record):
    """One file that a stage made."""

    path: str
    """Relative to the home, or absolute if outside."""
    label: str
    """What the file is to its stage; decides the digest together with the content."""
    bytes: int
    sha256: str
    version: str
    """What a look tells of it; while that stays, it is taken as unaltered without reading it."""


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
    """Of all outputs' labels and contents."""
    facts: Json
    """Small results worth showing: counts, scores."""
    seconds: float
    built_by: Json
    finished: str

    def path(self, home: Home, label: str) -> Path:
        """Return the output with this label, on this machine.

        Raises:
            ManifestError: there is none.
        """
        for output in self.outputs:
            if output.label == label:
                return home.fetch(home.path(output.path), output.sha256)
        raise ManifestError(f"stage {self.stage} ({self.key}) has no output '{label}'")

    @property
    def size(self) -> int:
        """Bytes of all outputs."""
        return sum(output.bytes for output in self.outputs)


@dataclass(frozen=True)
class Work:
    """One piece of work, told apart by everything that decides its result."""

    stage: str
    version: int
    config: Json
    inputs: Mapping[str, str]

    @property
    def key(self) -> str:
        """Sixteen hex digits that stand for this work."""
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
    """Which output is gone or altered; empty where there is no mark at all."""


def lookup(home: Home, work: Work, deep: bool = False) -> Lookup:
    """Look a piece of work up; `deep` reads every output again instead of trusting its version."""
    return _standing(home, work, deep, None)


def lookup_all(home: Home, works: Sequence[Work], deep: bool = False) -> list[Lookup]:
    """Look many pieces of work up, in their order; a bucket is listed, not asked for each."""
    if not home.remote:
        return [lookup(home, work, deep) for work in works]
    look = _Listed(home)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda work: _standing(home, work, deep, look), works))


def _standing(home: Home, work: Work, deep: bool, look: Look | None) -> Lookup:
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
    """Return which output of a mark is gone or altered, or an empty string."""
    if look is None:
        look = _Listed(home) if home.remote and len(mark.outputs) > FEW else home.seen
    for output in mark.outputs:
        seen = look(output.path)
        if seen is None:
            return f"{output.path} is gone"
        if seen.bytes != output.bytes:
            return f"{output.path} has {seen.bytes} bytes, not {output.bytes}"
        timely = seen.version == output.version
        if timely and not deep:
            continue
        if _hash(home, output) != output.sha256:
            return f"{output.path} is altered"
        if not timely and _is_file(home, output):
            _restore_time(home.path(output.path), seen, output)
    return ""


def find_faults(home: Home, marks: Sequence[Mark], deep: bool = False) -> list[str]:
    """Return what `find_fault` says of each mark, in their order."""
    look = _Listed(home) if home.remote else home.seen
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda mark: find_fault(home, mark, deep, look), marks))


def fetch(home: Home, marks: Iterable[Mark], wanted: Callable[[Output], bool]) -> None:
    """Bring those outputs of done work to this machine that are not here, several at a time."""
    if not home.remote:
        return
    outputs = [output for mark in marks for output in mark.outputs if wanted(output)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(lambda one: home.fetch(home.path(one.path), one.sha256), outputs):
            pass


def commit(
    home: Home, work: Work, outputs: Mapping[str, Path], facts: Json, seconds: float
) -> Mark:
    """Write the mark that says this work is done. `outputs` maps labels to finished files.

    Whoever calls holds the work's lock.
    """
    clear_remains(home.mark(work.stage, work.key))
    described = tuple(_describe(home, label, path) for label, path in sorted(outputs.items()))
    mark = Mark(
        stage=work.stage,
        version=work.version,
        key=work.key,
        config=work.config,
        inputs=dict(work.inputs),
        outputs=described,
        digest=digest_of([[output.label, output.sha256] for output in described]),
        facts=facts,
        seconds=round(seconds, 3),
        built_by=builder(),
        finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    text = json.dumps(plain(mark), indent=2, sort_keys=True, allow_nan=False) + "\n"
    home.write(home.mark(work.stage, work.key), text.encode())
    return mark


def all_marks(home: Home) -> Iterable[Mark]:
    """Yield every readable mark of a home, oldest name first."""
    names = [name for name in home.store.listing("marks") if name.endswith(".json")]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for text in pool.map(home.store.read, sorted(names)):
            with suppress(ValidationError):
                yield Mark.model_validate_json(text)


def forget(home: Home, mark: Mark) -> None:
    """Undo a mark: its work counts as not done."""
    home.remove(home.mark(mark.stage, mark.key))


class _Listed:
    """Looks at many objects of a bucket by few listings: one per corpus, run or stage of marks."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._folders: dict[str, dict[str, Seen]] = {}
        self._lock = threading.Lock()

    def __call__(self, spelled: str) -> Seen | None:
        if Path(spelled).is_absolute():
            return self._home.seen(spelled)
        # The first two parts: a file may itself lie right in a room.
        folder = "/".join(spelled.split("/")[:-1][:2])
        with self._lock:
            if folder not in self._folders:
                self._folders[folder] = self._home.store.listing(folder)
            return self._folders[folder].get(spelled)


def _hash(home: Home, output: Output) -> str:
    """Read an output from beginning to end where it rests; return its sha256."""
    if _is_file(home, output):
        return hash_file(home.path(output.path))
    digest = hashlib.sha256()
    for start in range(0, output.bytes, STRETCH):
        length = min(STRETCH, output.bytes - start)
        digest.update(home.store.read(output.path, start, length))
    return digest.hexdigest()


def _is_file(home: Home, output: Output) -> bool:
    return not home.remote or Path(output.path).is_absolute()


def _restore_time(path: Path, seen: Seen, output: Output) -> None:
    """Give a copied file its old time back, so that it is not read again at each look.

    Not if it changed while it was read, and not in a home that may only be read.
    """
    with suppress(OSError):
        status = path.stat()
        if str(status.st_mtime_ns) == seen.version:
            os.utime(path, ns=(status.st_atime_ns, int(output.version)))


def _describe(home: Home, label: str, path: Path) -> Output:
    # The version is taken before the content is read: what changes meanwhile is not trusted.
    seen = FolderStore(path.parent).seen(path.name)
    if seen is None:
        raise ManifestError(f"{path} was to be the output '{label}', but is not there")
    sha256 = hash_file(path)
    if home.remote and home.holds(path):
        seen = home.store.put(home.relative(path), path, sha256)
    return Output(
        path=home.relative(path),
        label=label,
        bytes=seen.bytes,
        sha256=sha256,
        version=seen.version,
    )

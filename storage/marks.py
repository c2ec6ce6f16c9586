"""Completion marks: what is done, out of what, with which result. Idempotence lives here.

A mark exists if and only if its work is done. It is written last and atomically, under a key
made of everything that decides the result; it names every output with size and sha256. A mark
whose outputs are gone or altered counts as missing. What follows is keyed by the outputs'
*content*, so rebuilding the same bytes leaves it done.
"""

import os
import platform
import socket
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from storage.config import Json, digest_of
from storage.errors import ManifestError
from storage.files import hash_file, read_json, write_json
from storage.layout import Home
from storage.records import Record, plain


class Output(Record):
    """One file that a stage made."""

    path: str
    """Relative to the home, or absolute if outside."""
    label: str
    """What the file is to its stage; decides the digest together with the content."""
    bytes: int
    sha256: str
    mtime_ns: int
    """A file still of this size and time is taken as unaltered without reading it."""


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
        """Return the output with this label; raise `ManifestError` if there is none."""
        for output in self.outputs:
            if output.label == label:
                return home.path(output.path)
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
class Standing:
    """Whether work is done, and if not, why not."""

    mark: Mark | None
    why: str = ""
    """Which output is gone or altered; empty where there is no mark at all."""


def standing(home: Home, work: Work, deep: bool = False) -> Standing:
    """Look a piece of work up; `deep` reads every output again instead of trusting its time."""
    path = home.mark(work.stage, work.key)
    if not path.exists():
        return Standing(None, "")
    try:
        mark = Mark.model_validate(read_json(path))
    except (ManifestError, ValidationError):
        return Standing(None, "its mark is unreadable")
    fault = find_fault(home, mark, deep)
    return Standing(None, fault) if fault else Standing(mark)


def find_fault(home: Home, mark: Mark, deep: bool = False) -> str:
    """Return which output of a mark is gone or altered, or an empty string."""
    for output in mark.outputs:
        path = home.path(output.path)
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return f"{output.path} is gone"
        if status.st_size != output.bytes:
            return f"{output.path} has {status.st_size} bytes, not {output.bytes}"
        timely = status.st_mtime_ns == output.mtime_ns
        if timely and not deep:
            continue
        if hash_file(path) != output.sha256:
            return f"{output.path} is altered"
        if not timely:
            _restore_time(path, status, output.mtime_ns)
    return ""


def commit(
    home: Home, work: Work, outputs: Mapping[str, Path], facts: Json, seconds: float
) -> Mark:
    """Write the mark that says this work is done. `outputs` maps labels to finished files."""
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
    write_json(home.mark(work.stage, work.key), plain(mark))
    return mark


def all_marks(home: Home) -> Iterable[Mark]:
    """Yield every readable mark of a home, oldest name first."""
    for path in sorted(home.marks.glob("*/*.json")):
        try:
            yield Mark.model_validate(read_json(path))
        except (ManifestError, ValidationError):
            continue


def builder() -> dict[str, Any]:
    """Say who is building: host, process and interpreter."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "python": platform.python_version(),
    }


def _restore_time(path: Path, status: os.stat_result, mtime_ns: int) -> None:
    """Give a copied file its old time back, so that it is not read again at each look.

    Not if it changed while it was read, and not in a home that may only be read.
    """
    with suppress(OSError):
        if path.stat().st_mtime_ns == status.st_mtime_ns:
            os.utime(path, ns=(status.st_atime_ns, mtime_ns))


def _describe(home: Home, label: str, path: Path) -> Output:
    # The time is taken before the content is read: a file that changes meanwhile is not trusted.
    status = path.stat()
    return Output(
        path=home.relative(path),
        label=label,
        bytes=status.st_size,
        sha256=hash_file(path),
        mtime_ns=status.st_mtime_ns,
    )

"""What a job reports while it runs: typed events in its run directory, for the process that waits.

::

    events.jsonl   one event a line: progress, or a message
    failure.json   why the job failed, written last; absent where it did not, or could not say

The log beside them is for people alone: nothing is parsed out of it. Several processes of one job
append to one file, each event in one write.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from storage.config import Config
from storage.errors import MachineError, ManifestError
from storage.files import read_json, write_json
from storage.home.runs import Run

PROGRESS = "job_progress"
"""Attribute of a log record that is progress, too."""


class ProgressEvent(Config):
    """How far a job is."""

    kind: Literal["progress"] = "progress"
    done: float
    total: float
    unit: str = ""
    """What is counted, such as `steps`."""
    note: str = ""


class MessageEvent(Config):
    """Something that a job has to say to people."""

    kind: Literal["message"] = "message"
    level: int
    """One of `logging`'s."""
    message: str


JobEvent = ProgressEvent | MessageEvent
_event: TypeAdapter[JobEvent] = TypeAdapter(Annotated[JobEvent, Field(discriminator="kind")])


class Failure(Config):
    """Why a job failed, in its own words."""

    error: str
    """Class of the error."""
    message: str
    exit_code: int
    """Of the process that failed first: negative, a signal's number."""


class EventLog(logging.Handler):
    """Passes a process's log records on as events of its job.

    A record made with `extra=progress(...)` is progress; any other one is a message. An event that
    cannot be written is dropped: whatever fills the disk is reported by what writes results.
    """

    def __init__(self, run: Run, prefix: str = "") -> None:
        super().__init__()
        self._path, self._prefix = run.events, prefix
        _end_torn_line(self._path)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        given = getattr(record, PROGRESS, None)
        event: JobEvent
        if isinstance(given, ProgressEvent):
            event = given
        else:
            text = f"{self._prefix}{record.getMessage()}"
            event = MessageEvent(level=record.levelno, message=text)
        with suppress(OSError):
            _append(self._path, json.dumps(event.model_dump(mode="json")))


def progress(done: float, total: float, unit: str = "", note: str = "") -> Mapping[str, object]:
    """Return the `extra` of a log call that is progress: `done` of `total` units."""
    return {PROGRESS: ProgressEvent(done=done, total=total, unit=unit, note=note)}


class EventReader:
    """Reads a run's events as they are appended, from the end of those of earlier attempts."""

    def __init__(self, run: Run) -> None:
        self._path = run.events
        self._offset = self._path.stat().st_size if self._path.exists() else 0
        self._rest = b""

    def new(self) -> Iterator[JobEvent]:
        """Yield what was appended since the last call; a line that is no event is left out."""
        if not self._path.exists():
            return
        with self._path.open("rb") as stream:
            stream.seek(self._offset)
            data = stream.read()
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            with suppress(ValidationError):
                yield _event.validate_json(line)


def write_failure(run: Run, error: BaseException, exit_code: int, prefix: str = "") -> None:
    """Say why a job fails, unless another process of it said so before."""
    with suppress(OSError, MachineError):
        if run.root.is_dir() and not run.failure.exists():
            message = f"{prefix}{' '.join(str(error).split()) or type(error).__name__}"
            failure = Failure(error=type(error).__name__, message=message, exit_code=exit_code)
            write_json(run.failure, failure.model_dump(mode="json"))


def read_failure(run: Run) -> Failure | None:
    """Return why a job failed; None where it did not say."""
    try:
        return Failure.model_validate(read_json(run.failure))
    except (ManifestError, ValidationError):
        return None


def _append(path: Path, line: str) -> None:
    """Append a line at once: so several processes can write, and no line lands inside another."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


def _end_torn_line(path: Path) -> None:
    """A process that died in the middle of a line must not spoil the next one."""
    with suppress(OSError), path.open("rb") as stream:
        if not stream.seek(0, os.SEEK_END):
            return
        stream.seek(-1, os.SEEK_END)
        if stream.read(1) != b"\n":
            # Appended, as everything: another process may have written since the look. Where its
            # line was only half visible, this makes an empty line, which readers leave out.
            _append(path, "")

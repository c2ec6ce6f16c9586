"""The standard streams of a command, which may be closed pipes or files on a full disk.

A program that writes to a pipe that is no longer read ends silently, as `yes | head -1` does.
Python instead raises an error, once where something is written and once more when it exits, which
libraries catch in ways of their own. Here the stream itself says what happened, once.
"""

import io
import os
import sys
from typing import Any, TextIO

from storage.errors import MachineError

CLOSED_PIPE = 141
"""Exit code of a program that SIGPIPE ended, as shells show it: 128 + 13."""
STANDARD = (0, 1, 2)
"""Descriptors of the standard input, output and error stream."""


class OutputClosed(SystemExit):
    """The output is no longer read: the command ends, and there is nothing to say."""

    def __init__(self) -> None:
        super().__init__(CLOSED_PIPE)


class _Descriptor(io.FileIO):
    """A file descriptor that is given up once a write has failed.

    What Python still holds is then thrown away, so that its last flush raises nothing.
    """

    def __init__(self, number: int, vital: bool) -> None:
        super().__init__(number, "w", closefd=False)
        self._vital = vital
        self._given_up = False

    def write(self, data: Any) -> int:
        """Write bytes; raise if that fails for the first time and the stream is vital."""
        if self._given_up:
            return len(memoryview(data).cast("B"))
        try:
            return super().write(data)
        except OSError as error:
            self._given_up = True
            if self._vital and isinstance(error, BrokenPipeError):
                raise OutputClosed from error
            if self._vital:
                raise MachineError(
                    f"the output cannot be written: {error.strerror}; write it somewhere else"
                ) from error
            return len(memoryview(data).cast("B"))


def text_stream(number: int, vital: bool = True) -> TextIO:
    """Return a stream that writes text to a file descriptor.

    Args:
        number: the file descriptor; it is not closed with the stream.
        vital: whether the command is to end when nothing can be written: with `OutputClosed` if it
            is no longer read, else with `MachineError`. If not, what cannot be written is dropped.
    """
    raw = _Descriptor(number, vital)
    # A name that the terminal's encoding lacks is shown escaped: no reason to fail.
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(sys.stdout, "encoding", None),
        errors="backslashreplace",
        line_buffering=raw.isatty() or not vital,
    )


def prepare_streams() -> None:
    """Give this process standard streams that end it well; those that are closed lead nowhere.

    A closed descriptor's number would go to the next file that is opened, and what is printed into
    that file: all three are opened first.
    """
    while (spare := os.open(os.devnull, os.O_RDWR)) < len(STANDARD):
        os.set_inheritable(spare, True)
    os.close(spare)
    stdin, stdout, stderr = STANDARD
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.FileIO(stdin, closefd=False))
    sys.stdout, sys.stderr = text_stream(stdout), text_stream(stderr, vital=False)

"""Other processes of this machine, found by their command lines."""

from collections.abc import Iterator

import psutil


def commands() -> Iterator[tuple[psutil.Process, list[str]]]:
    """Yield every running process with the words of its command line."""
    for process in psutil.process_iter(["cmdline"]):
        # None of a zombie, and of a process that this user may not read.
        if words := process.info["cmdline"]:
            yield process, words


def with_words(*words: str) -> list[psutil.Process]:
    """Return the processes whose command lines hold all these, each as a whole word."""
    return [process for process, line in commands() if set(words) <= set(line)]

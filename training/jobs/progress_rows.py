"""How far a separation is: a bar where someone watches, lines where they are kept."""

import contextlib
import logging
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from training.inference.overlap_add import Progress as ChunkProgress
from training.jobs.separate_songs import Watch

LINES = 10
"""Of one song, about, where no bar is drawn."""

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def songs_progress() -> Iterator[Watch]:
    """Yield what reports the progress of songs and their chunks."""
    if not sys.stderr.isatty():
        yield log_lines
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    # A bracket in a name begins no markup. A bar that is done makes room for its song's line.
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars, _lines_above():
        yield lambda number, songs, name: _bar(bars, f"{number}/{songs} {name}")


@contextlib.contextmanager
def _lines_above() -> Iterator[None]:
    """Let log lines go through the standard error that a bar has taken over, to stand above it."""
    handlers = [
        each for each in logging.getLogger().handlers if type(each) is logging.StreamHandler
    ]
    before = [(each, each.setStream(sys.stderr)) for each in handlers]
    try:
        yield
    finally:
        for handler, stream in before:
            if stream:
                handler.setStream(stream)


def log_lines(number: int, songs: int, name: str) -> ChunkProgress:
    """Log about every tenth of a song, if it takes more than a few forward passes."""
    shown = 0

    def report(done: int, chunks: int) -> None:
        nonlocal shown
        tenth = LINES * done // chunks
        if tenth > shown and done < chunks:
            shown = tenth
            logger.info("song %d/%d %s chunk %d/%d", number, songs, name, done, chunks)

    return report


def _bar(bars: Progress, description: str) -> ChunkProgress:
    for earlier in bars.task_ids:
        bars.remove_task(earlier)
    task = bars.add_task(description, total=None)
    return lambda done, chunks: bars.update(task, completed=done, total=chunks)

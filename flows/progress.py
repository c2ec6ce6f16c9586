"""What a person sees while stages run: bars in a terminal, lines in a log, both in the UI."""

import logging
import re
import threading
import time
from dataclasses import dataclass, field
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

UI_SECONDS = 5.0
"""Between two updates of a progress artifact, and between two sampled lines of a job's log."""
LOG_SECONDS = 20.0
"""Between two lines on a stage's progress where there is no terminal to show bars in."""


class Board:
    """The terminal's side. Stages of one run post to it from several threads."""

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._lock = threading.Lock()
        self._bars: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}
        self._progress = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            # A job may print brackets, which are not the console's markup.
            TextColumn("{task.fields[note]}", style="dim", markup=False),
            console=console,
            disable=quiet or not console.is_terminal,
        )

    def __enter__(self) -> "Board":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, label: str, share: float, note: str) -> None:
        """Move a stage's bar; `share` is from 0 to 1."""
        with self._lock:
            if not self._console.is_terminal:
                self._say(label, share, note)
                return
            if label not in self._bars:
                self._bars[label] = self._progress.add_task(label, total=1.0, note=note)
            self._progress.update(self._bars[label], completed=share, note=note[:60])

    def _say(self, label: str, share: float, note: str) -> None:
        """Where there are no bars, print a line now and then."""
        now = time.monotonic()
        if not self._quiet and now - self._said.setdefault(label, now) >= LOG_SECONDS:
            self._said[label] = now
            self._console.print(f"{label:<28} {share:.0%} {note}", highlight=False, soft_wrap=True)

    def settle(self, label: str, outcome: str) -> None:
        """Say how a stage ended, and take its bar away."""
        with self._lock:
            if label in self._bars:
                self._progress.remove_task(self._bars.pop(label))
            if not self._quiet:
                self._progress.console.print(f"{label:<28} {outcome}", highlight=False)


@dataclass
class StageWatch:
    """One stage's progress: to the board at once, to Prefect every few seconds."""

    label: str
    board: Board
    _artifact: UUID | None = None
    _shown: float = field(default_factory=time.monotonic)
    _said: float = 0.0

    def __call__(self, done: float, total: float, note: str = "") -> None:
        """Show that `done` of `total` is done."""
        share = min(1.0, done / total) if total else 0.0
        self.board.advance(self.label, share, note)
        if time.monotonic() - self._shown >= UI_SECONDS:
            self._shown = time.monotonic()
            self._publish(share, f"{self.label}: {done:g} of {total:g} {note}")
            get_run_logger().info("%s: %g of %g %s", self.label, done, total, note)

    def say(self, line: str) -> None:
        """Pass on a line that a job printed: warnings always, the rest now and then."""
        important = re.search(r"\b(warning|error)\b", line, re.IGNORECASE) is not None
        if important or time.monotonic() - self._said >= UI_SECONDS:
            self._said = time.monotonic()
            level = logging.WARNING if important else logging.INFO
            get_run_logger().log(level, "%s", line)

    def finish(self, outcome: str) -> None:
        """Say that the stage is done, and what came of it."""
        if self._artifact:
            self._publish(1.0, f"{self.label}: {outcome}")
        self.board.settle(self.label, outcome)

    def reuse(self) -> None:
        """Say that the stage had been done before."""
        self.board.settle(self.label, "cached")

    def _publish(self, share: float, description: str) -> None:
        percent = round(100 * share, 1)
        if self._artifact is None:
            key = "progress-" + re.sub(r"[^a-z0-9]+", "-", self.label.lower())
            made = create_progress_artifact(percent, key=key, description=description)
            self._artifact = made if isinstance(made, UUID) else None
        else:
            update_progress_artifact(self._artifact, percent, description=description)

"""What a person sees while stages run: bars in a terminal, lines in a log, both in the UI."""

import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from prefect.logging import get_run_logger
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from flows.ui import training_page
from flows.ui.artifacts import Artifact, key_of
from flows.ui.events import announce
from storage.home.marks import Mark
from storage.home.runs import Run

UI_SECONDS = 5.0
"""Between two updates of a progress artifact, and between two sampled lines of a job's log."""
UI_SHARE = 0.005
"""Of a stage's age: a job of days is shown less often, that its log stays small."""
UI_SLOWEST_SECONDS = 60.0
LIVE_SECONDS = 30.0
"""Between two updates of a training job's live page."""
LOG_SECONDS = 20.0
"""Between two lines on a stage's progress where there is no terminal to show bars in."""

LEVELS = {"warning": logging.WARNING, "error": logging.ERROR, "critical": logging.CRITICAL}
SAID = re.compile(r"\b(warning|error|critical)\b", re.IGNORECASE)


@dataclass
class Standing:
    """How one stage of a run stands."""

    state: Literal["running", "done", "cached", "failed"] = "running"
    share: float = 0.0
    note: str = ""
    began: float = field(default_factory=time.monotonic)
    moved: float = field(default_factory=time.monotonic)
    """When it last showed a sign of life."""
    run: Run | None = None
    """Of a GPU job: its directory."""
    mark: Mark | None = None
    """What it left, once it is done."""


class Terminal(Console):
    """Where a run prints, whoever reads it: without a reader, as of a killed worker, it goes on."""

    def on_broken_pipe(self) -> None:
        """Print no more; rich would end the process."""
        self.quiet = True


class Board:
    """The terminal's side, and what is known of all stages; they post from several threads."""

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._lock = threading.Lock()
        self._bars: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}
        self._standings: dict[str, Standing] = {}
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
            standing = self._standings.setdefault(label, Standing())
            standing.share, standing.note, standing.moved = share, note, time.monotonic()
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

    def begin(self, label: str) -> None:
        """Count a stage as being worked at, from now."""
        with self._lock:
            self._standings[label] = Standing()

    def stir(self, label: str) -> None:
        """Count a sign of life of a stage."""
        with self._lock:
            self._standings.setdefault(label, Standing()).moved = time.monotonic()

    def attach(self, label: str, run: Run) -> None:
        """Say in which directory a stage's job runs."""
        with self._lock:
            self._standings.setdefault(label, Standing()).run = run

    def conclude(
        self, label: str, state: Literal["done", "cached", "failed"], note: str, mark: Mark | None
    ) -> None:
        """Keep how a stage ended, and what it left."""
        with self._lock:
            standing = self._standings.setdefault(label, Standing())
            standing.state, standing.note, standing.mark = state, note, mark
            standing.moved = time.monotonic()

    def standings(self) -> dict[str, Standing]:
        """Return how each stage stands that was begun or found done, in that order."""
        with self._lock:
            return dict(self._standings)

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
    _bar: Artifact | None = None
    _page: Artifact | None = None
    _run: Run | None = None
    _began: float = field(default_factory=time.monotonic)
    _shown: float = field(default_factory=time.monotonic)
    _drawn: float = field(default_factory=time.monotonic)
    _said: float = 0.0

    def __call__(self, done: float, total: float, note: str = "") -> None:
        """Show that `done` of `total` is done."""
        share = min(1.0, done / total) if total else 0.0
        self.board.advance(self.label, share, note)
        if time.monotonic() - self._shown >= self._pace():
            self._shown = time.monotonic()
            self._publish(share, f"{self.label}: {done:g} of {total:g} {note}")
            get_run_logger().info("%s: %g of %g %s", self.label, done, total, note)
        if time.monotonic() - self._drawn >= LIVE_SECONDS:
            self._draw()

    def say(self, line: str) -> None:
        """Pass on a line that a job printed: warnings always, the rest now and then."""
        self.board.stir(self.label)
        level = level_of(line)
        if level > logging.INFO or time.monotonic() - self._said >= self._pace():
            self._said = time.monotonic()
            get_run_logger().log(level, "%s", line)

    def follow(self, run: Run) -> None:
        """Show from now on what a job logs in its run directory."""
        self._run = run
        self.board.attach(self.label, run)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count the stage as being worked at; whatever ends this block otherwise is told."""
        self.board.begin(self.label)
        self._began = time.monotonic()
        try:
            yield
        except BaseException as error:
            why = str(error) or type(error).__name__
            self.board.conclude(self.label, "failed", why, None)
            announce("stemworks.stage.failed", self.label, {"error": why[:2000]})
            raise

    def finish(self, outcome: str, mark: Mark | None = None) -> None:
        """Say that the stage is done, and what came of it."""
        if self._bar:
            self._publish(1.0, f"{self.label}: {outcome}")
        self._draw()
        self.board.conclude(self.label, "done", outcome, mark)
        self.board.settle(self.label, outcome)
        announce("stemworks.stage.done", self.label, {"outcome": outcome})

    def reuse(self, mark: Mark | None = None) -> None:
        """Say that the stage had been done before."""
        self.board.conclude(self.label, "cached", "done before", mark)
        self.board.settle(self.label, "cached")

    def _pace(self) -> float:
        age = time.monotonic() - self._began
        return min(UI_SLOWEST_SECONDS, max(UI_SECONDS, UI_SHARE * age))

    def _publish(self, share: float, description: str) -> None:
        if self._bar is None:
            self._bar = Artifact("progress", key_of("progress", self.label))
        self._bar.show(round(100 * share, 1), description)

    def _draw(self) -> None:
        """Bring a training job's live page up to date."""
        self._drawn = time.monotonic()
        text = training_page.page(self.label, self._run) if self._run else ""
        if text:
            described = f"{self.label}: loss, gradient norm, speed as the job logs them"
            self._page = self._page or Artifact("markdown", key_of("live", self.label), described)
            self._page.show(text)


def level_of(line: str) -> int:
    """Return the level of a line that a job printed, by the word it says it with."""
    said = SAID.search(line)
    if line.startswith("Traceback") or re.match(r"\[rank\d+\]: ?Traceback", line):
        return logging.ERROR
    return LEVELS[said[1].lower()] if said else logging.INFO

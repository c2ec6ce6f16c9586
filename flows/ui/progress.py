"""What people see while stages run: bars in a terminal, lines in a log, both in the UI."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from prefect.logging import get_run_logger
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from flows.stage_id import Role, StageId
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


@dataclass
class StageProgress:
    """The state of one stage of a run."""

    role: Role = Role.OTHER
    state: Literal["running", "done", "cached", "failed"] = "running"
    share: float = 0.0
    note: str = ""
    began: float = field(default_factory=time.monotonic)
    moved: float = field(default_factory=time.monotonic)
    """When it last reported anything."""
    run: Run | None = None
    """Of a GPU job: its directory."""
    mark: Mark | None = None
    """Its completion mark, once it is done."""


class Terminal(Console):
    """A console that survives its reader: a run continues when its output is no longer read."""

    def on_broken_pipe(self) -> None:
        """Stop printing; rich would end the process."""
        self.quiet = True


class Board:
    """The terminal's side, and the state of all stages; they report from several threads."""

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._lock = threading.Lock()
        self._bars: dict[StageId, TaskID] = {}
        self._printed: dict[StageId, float] = {}
        self._stages: dict[StageId, StageProgress] = {}
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

    def advance(self, what: StageId, share: float, note: str) -> None:
        """Move a stage's bar; `share` is from 0 to 1."""
        with self._lock:
            stage = self._of(what)
            stage.share, stage.note, stage.moved = share, note, time.monotonic()
            if not self._console.is_terminal:
                self._print(what, share, note)
                return
            if what not in self._bars:
                self._bars[what] = self._progress.add_task(what.label, total=1.0, note=note)
            self._progress.update(self._bars[what], completed=share, note=note[:60])

    def _print(self, what: StageId, share: float, note: str) -> None:
        """Where there are no bars, print a line now and then."""
        now = time.monotonic()
        if not self._quiet and now - self._printed.setdefault(what, now) >= LOG_SECONDS:
            self._printed[what] = now
            line = f"{what.label:<28} {share:.0%} {note}"
            self._console.print(line, highlight=False, soft_wrap=True)

    def _of(self, what: StageId) -> StageProgress:
        return self._stages.setdefault(what, StageProgress())

    def begin(self, what: StageId, role: Role = Role.OTHER) -> None:
        """Count a stage as running from now."""
        with self._lock:
            self._stages[what] = StageProgress(role)

    def touch(self, what: StageId) -> None:
        """Note that a stage reported something."""
        with self._lock:
            self._of(what).moved = time.monotonic()

    def say(self, what: StageId, line: str) -> None:
        """Print a line on a stage that does not move, such as for whom it waits."""
        with self._lock:
            if not self._quiet:
                self._progress.console.print(
                    f"{what.label:<28} {line}", highlight=False, markup=False, soft_wrap=True
                )

    def attach(self, what: StageId, run: Run) -> None:
        """Set the directory in which a stage's job runs."""
        with self._lock:
            self._of(what).run = run

    def conclude(self, what: StageId, end: StageProgress) -> None:
        """Keep how a stage ended, and its mark."""
        with self._lock:
            stage = self._of(what)
            stage.role, stage.state = end.role, end.state
            stage.note, stage.mark = end.note, end.mark
            stage.moved = time.monotonic()

    def stages(self) -> dict[StageId, StageProgress]:
        """Return the state of each stage that began or was found done, in that order."""
        with self._lock:
            return dict(self._stages)

    def settle(self, what: StageId, outcome: str) -> None:
        """Print how a stage ended, and remove its bar."""
        with self._lock:
            if what in self._bars:
                self._progress.remove_task(self._bars.pop(what))
            if not self._quiet:
                self._progress.console.print(f"{what.label:<28} {outcome}", highlight=False)


@dataclass
class StageWatch:
    """One stage's progress: to the board at once, to Prefect every few seconds."""

    id: StageId
    board: Board
    role: Role = Role.OTHER
    _bar: Artifact | None = None
    _page: Artifact | None = None
    _run: Run | None = None
    _began: float = field(default_factory=time.monotonic)
    _shown: float = field(default_factory=time.monotonic)
    _drawn: float = field(default_factory=time.monotonic)
    _logged: float = 0.0

    @property
    def label(self) -> str:
        """What people call the stage."""
        return self.id.label

    def __call__(self, done: float, total: float, note: str = "") -> None:
        """Report that `done` of `total` is done."""
        share = min(1.0, done / total) if total else 0.0
        self.board.advance(self.id, share, note)
        if time.monotonic() - self._shown >= self._pace():
            self._shown = time.monotonic()
            self._publish(share, f"{self.label}: {done:g} of {total:g} {note}")
            get_run_logger().info("%s: %g of %g %s", self.label, done, total, note)
        if time.monotonic() - self._drawn >= LIVE_SECONDS:
            self._draw()

    def log(self, message: str, level: int = logging.INFO) -> None:
        """Report a message: warnings always, the rest now and then."""
        self.board.touch(self.id)
        if level > logging.INFO or time.monotonic() - self._logged >= self._pace():
            self._logged = time.monotonic()
            get_run_logger().log(level, "%s", message)

    def waits(self, message: str) -> None:
        """Report for whom or what the stage waits, in the terminal and in the run's log."""
        self.board.say(self.id, message)
        get_run_logger().info("%s %s", self.label, message)

    def attach(self, run: Run) -> None:
        """Show from now on the metrics that a job logs in its run directory."""
        self._run = run
        self.board.attach(self.id, run)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count the stage as running; an exception that ends this block is reported."""
        self.board.begin(self.id, self.role)
        self._began = time.monotonic()
        try:
            yield
        except BaseException as error:
            why = str(error) or type(error).__name__
            self.board.conclude(self.id, StageProgress(self.role, "failed", note=why))
            announce("stemworks.stage.failed", self.label, {"error": why[:2000]})
            raise

    def finish(self, outcome: str, mark: Mark | None = None) -> None:
        """Report that the stage is done, and its outcome."""
        if self._bar:
            self._publish(1.0, f"{self.label}: {outcome}")
        self._draw()
        self.board.conclude(self.id, StageProgress(self.role, "done", note=outcome, mark=mark))
        self.board.settle(self.id, outcome)
        announce("stemworks.stage.done", self.label, {"outcome": outcome})

    def reuse(self, mark: Mark | None = None) -> None:
        """Report that an earlier run did the stage."""
        self.board.conclude(
            self.id, StageProgress(self.role, "cached", note="done before", mark=mark)
        )
        self.board.settle(self.id, "cached")

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

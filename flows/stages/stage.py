"""What a stage is, and doing one exactly once. No Prefect here: a stage can run in a test."""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from flows.jobs.deadlines import TimeLimit, within
from flows.stage_id import Role
from storage.config import Config, Json
from storage.files import disk_errors
from storage.home import marks
from storage.home.failures import recording_failure
from storage.home.layout import Home
from storage.home.marks import Mark, Work
from storage.home.runs import Run

Inputs = Mapping[str, Mark]
logger = logging.getLogger(__name__)


class Watch(Protocol):
    """Where a stage reports its progress and its messages."""

    def __call__(self, done: float, total: float, note: str = "") -> None:
        """Report that `done` of `total` is done."""

    def log(self, message: str, level: int = logging.INFO) -> None:
        """Report a message; `level` is one of `logging`'s."""

    def waits(self, message: str) -> None:
        """Report for whom or what the stage waits."""

    def attach(self, run: Run) -> None:
        """Show the metrics that a job logs in its run directory."""


class Built(NamedTuple):
    """What a stage's builder leaves: finished files by label, and small facts worth showing."""

    outputs: dict[str, Path]
    facts: Json
    earlier_seconds: float = 0.0
    """Of the attempts that this one resumed."""
    about: Collection[str] = ()
    """Labels of outputs that only describe the others to people: no part of their digest."""


UNLIMITED = TimeLimit(24.0 * 365, "no limit")


@dataclass(frozen=True)
class Site:
    """Where a stage is built, and where its progress is reported."""

    home: Home
    key: str
    watch: Watch
    settings: Json = field(default_factory=dict)
    """Settings that never decide the result: paths of sources."""
    limit: TimeLimit = UNLIMITED


Builder = Callable[[Site, Any, Inputs], Built]


def what_matters(config: Config) -> Json:
    """Return what decides a result, as the config's own class says."""
    return config.what_matters()


@dataclass(frozen=True)
class Stage:
    """One step of a study: built from a config and the marks of what it needs."""

    name: str
    version: int
    """Raised by hand when the builder's result changes for the same config and inputs."""
    build: Builder
    kind: Literal["light", "packing", "gpu"] = "light"
    folder: Callable[[Home, str], Path] | None = None
    """The folder that holds all its work, thrown away when the stage is forced."""
    matters: Callable[[Any], Json] = what_matters
    """The part of its config that decides the result."""
    role: Role = Role.OTHER
    """What it is in a study; never part of a mark's key."""

    def work(self, config: Config, inputs: Inputs) -> Work:
        """Return the work that this stage is, for this config and these inputs."""
        digests = {name: mark.digest for name, mark in inputs.items()}
        return Work(self.name, self.version, self.matters(config), digests)


class Performed(NamedTuple):
    """A stage that is done, and whether an earlier run did it."""

    mark: Mark
    cached: bool


def perform(site: Site, stage: Stage, config: Config, inputs: Inputs) -> Performed:
    """Return a stage's mark, doing the stage if it is not done.

    Raises:
        LockedError: another process is doing it now.
        TimeLimitError: it exceeded its time limit.
        StoppedError: its flow was stopped.
        StemworksError: it failed; the failure is noted in the home until the stage succeeds.
    """
    work = stage.work(config, inputs)
    found = marks.lookup(site.home, work)
    if found.mark:
        return Performed(found.mark, cached=True)
    with site.home.alone(work.name, f"stage {stage.name}"):
        found = marks.lookup(site.home, work)
        if found.mark:
            return Performed(found.mark, cached=True)
        started = time.monotonic()
        with recording_failure(site.home, work), disk_errors(site.home.root):
            with within(site.limit, f"stage {stage.name}"):
                built = stage.build(site, config, inputs)
            seconds = built.earlier_seconds + time.monotonic() - started
            mark = marks.commit(site.home, work, built.outputs, built.facts, seconds, built.about)
    return Performed(mark, cached=False)


def forget(home: Home, stage: Stage, work: Work) -> None:
    """Undo a stage, so that it is done again from its beginning."""
    home.remove(home.mark(work.stage, work.key))
    if stage.folder:
        home.clear(stage.folder(home, work.key))

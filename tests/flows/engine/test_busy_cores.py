"""How busy packing keeps its cores: a simulation of events, in the order that a run packs in."""

import heapq
import itertools
import math
import random
from collections import deque
from typing import NamedTuple

import pytest

from flows.engine.flow import THREADS
from flows.stages import units
from flows.stages.units import PACKING_TASKS, batched
from pipelines.config import FmaConfig
from pipelines.workers.work_pool import WorkQueue

TRACKS, MEAN_SECONDS, SPREAD, LONGEST_SECONDS = 106_574, 270.0, 0.8, 14_400.0
"""Of FMA-full: tracks, their mean length, how it spreads (sigma of a log-normal), and the longest
that is packed."""
GUESSED = 0.15
"""How far a unit's time spreads around what its size says."""


class Unit(NamedTuple):
    """A unit to pack."""

    task: int
    size: float
    seconds: float


def corpus(seed: int) -> list[float]:
    """Return the seconds of music of each unit of a corpus like FMA-full."""
    draw, centre = random.Random(seed), math.log(MEAN_SECONDS) - SPREAD**2 / 2
    tracks = [min(draw.lognormvariate(centre, SPREAD), LONGEST_SECONDS) for _ in range(TRACKS)]
    per_unit = FmaConfig().unit_tracks
    return [sum(tracks[start : start + per_unit]) for start in range(0, TRACKS, per_unit)]


class Simulation:
    """A run's packing tasks, each begun by one of Prefect's threads, and its workers."""

    def __init__(self, tasks: list[list[Unit]], workers: int) -> None:
        self._coming, self._workers = deque(tasks), workers
        self._queue: WorkQueue[Unit] = WorkQueue(workers, lambda unit: unit.size)
        self._undone: dict[int, int] = {}
        self._counter = itertools.count()
        self._at_work: list[tuple[float, int, Unit]] = []
        self.now = self.busy = 0.0

    def run(self) -> float:
        """Return the share of the run for which workers were busy."""
        self._begin()
        while self._at_work:
            self.now, _, unit = heapq.heappop(self._at_work)
            self._undone[unit.task] -= 1
            if not self._undone[unit.task]:
                del self._undone[unit.task]
            self._begin()
        return self.busy / self._workers / self.now

    def _begin(self) -> None:
        """Give every idle worker a unit; let tasks in for as long as they are."""
        while True:
            while self._coming and self._queue.is_open and len(self._undone) < THREADS:
                task = self._coming.popleft()
                self._undone[task[0].task] = len(task)
                self._queue.let_in()
                self._queue.bring(task)
            if len(self._at_work) == self._workers or not (unit := self._queue.take()):
                return
            self.busy += unit.seconds
            heapq.heappush(self._at_work, (self.now + unit.seconds, next(self._counter), unit))


def simulated(cores: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> tuple[float, int]:
    """Return the share for which so many cores are busy, and the number of tasks."""
    monkeypatch.setattr(units, "cores", lambda: cores)
    music, draw = corpus(seed), random.Random(seed)
    tasks = batched([str(number) for number in range(len(music))], FmaConfig())
    dealt = [
        [
            Unit(number, music[int(name)], music[int(name)] * draw.lognormvariate(0.0, GUESSED))
            for name in names
        ]
        for number, names in enumerate(tasks)
    ]
    return Simulation(dealt, cores).run(), len(tasks)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("cores", [2, 16, 64])
def test_cores_are_busy_to_the_end(cores: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    busy, tasks = simulated(cores, seed, monkeypatch)
    assert busy >= 0.98, busy
    assert tasks <= PACKING_TASKS


def test_tasks_that_took_turns_would_leave_cores_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation sees what the one queue is for."""
    monkeypatch.setattr("tests.flows.engine.test_busy_cores.THREADS", 1)
    assert simulated(16, 0, monkeypatch)[0] < 0.93

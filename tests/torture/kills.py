"""Packers killed again and again on one home, or started two at once: what is left is the same."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from storage.home.marks import Mark
from tests.processes import with_words
from tests.torture.material import Packing

ROOT = Path(__file__).parent.parent.parent
STEPS = ("plan", "begin", "fetch", "tar", "close", "ledger", "commit")
"""Any of which a packer may be killed at; `decode` comes of itself."""
ORPHANS_SECONDS = 10.0
"""Within which children of a killed packer must be gone."""
LIMIT_SECONDS = 300.0
"""For a packer that nobody kills."""


@dataclass
class Record:
    """What was done to packers and what they did; `faults` are violations."""

    name: str
    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    """Of kills: the step that the packer had told last."""
    begun: int = 0
    units: int = 0
    homes: int = 1
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def row(self) -> list[str]:
        """Return a line of the table."""
        spread = " ".join(f"{step} {count}" for step, count in self.kills.most_common())
        again = f"{self.begun - self.units} ({self.units} units)"
        return [self.name, str(self.rounds), spread or "none", again, str(self.homes),
                f"{self.seconds:.0f}", str(len(self.faults))]  # fmt: skip


class Packer:
    """A packer at work."""

    def __init__(self, study: Packing, words: Path) -> None:
        self._words: IO[bytes] = words.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.packer", study.order()],
            stdout=subprocess.PIPE,
            stderr=self._words,
            bufsize=0,
            cwd=ROOT,
        )
        self.steps: list[str] = []

    def follow(self, count: int, until: str = "") -> None:
        """Read up to `count` more steps, or up to one of a name."""
        assert self.process.stdout
        for _ in range(count):
            line = self.process.stdout.readline().decode()
            if not line:
                return
            self.steps.append(line.strip())
            if until and line.startswith(until):
                return

    def kill(self) -> bool:
        """End it at once; say whether it was still at work."""
        alive = self.process.poll() is None
        self.process.send_signal(signal.SIGKILL)
        self.finish()
        return alive and self.process.returncode == -signal.SIGKILL

    def finish(self) -> int:
        """Read to the end; return the exit code."""
        rest, _ = self.process.communicate(timeout=LIMIT_SECONDS)
        self.steps += rest.decode().splitlines()
        self._words.close()
        return self.process.returncode

    @property
    def begun(self) -> list[str]:
        """Units begun."""
        return [step.split()[1] for step in self.steps if step.startswith("begin ")]


@contextmanager
def packer(study: Packing, words: Path) -> Iterator[Packer]:
    """Start a packer that outlives the block in no case."""
    one = Packer(study, words)
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.kill()


def orphans(pid: int) -> list[int]:
    """Return the children that a packer that is gone has left, after a moment to go."""
    end = time.monotonic() + ORPHANS_SECONDS
    while left := _children(pid):
        if time.monotonic() > end:
            return left
        time.sleep(0.02)
    return []


def _children(pid: int) -> list[int]:
    return [one.pid for one in with_words("pipelines.workers.isolation", str(pid))]


def killed_again_and_again(
    record: Record,
    study_of: Callable[[int], Packing],
    reference: dict[str, str],
    kills: int,
    seed: int,
) -> Record:
    """Kill packers on one home at random steps; when the home is done early, take another."""
    chance, started = random.Random(seed), time.monotonic()
    study = study_of(record.homes)
    words = study.archives.archive.with_name(f"{record.name.replace(' ', '-')}.words")
    record.units = len(study.plan.units)
    while record.rounds < kills:
        before = study.done()
        if len(before) == len(study.plan.units) and study.home.has(study.corpus.index):
            _require_same(record, study, reference)
            record.homes += 1
            record.units += len(study.plan.units)
            study = study_of(record.homes)
            continue
        with packer(study, words) as one:
            # About a dozen steps make a unit, and two units are packed side by side.
            one.follow(chance.randint(1, 30), chance.choice(["", *STEPS]))
            time.sleep(chance.choice([0, chance.uniform(0, 0.02), chance.uniform(0, 0.2)]))
            killed = one.kill()
        record.rounds += killed
        record.begun += len(one.begun)
        if killed:
            record.kills[one.steps[-1].split()[0] if one.steps else "start"] += 1
        elif one.process.returncode:
            record.faults.append(f"a packer ended with {one.process.returncode}: see {words}")
        _require_no_redoing(record, one, before)
        record.faults += [f"process {pid} outlives its packer" for pid in orphans(one.process.pid)]
        if len(record.faults) > kills:
            break
    _finish(record, study, words)
    _require_same(record, study, reference)
    record.seconds = time.monotonic() - started
    return record


def two_at_once(
    record: Record,
    study_of: Callable[[int], Packing],
    reference: dict[str, str],
    rounds: int,
    seed: int,
) -> Record:
    """Start two packers on one home at a random distance; in every other round one is killed."""
    chance, started = random.Random(seed), time.monotonic()
    for number in range(rounds):
        study = study_of(number)
        words = study.archives.archive.with_name("two.words")
        with packer(study, words) as first:
            time.sleep(chance.uniform(0, 1.5))
            with packer(study, words) as second:
                if victim := chance.choice([first, second]) if number % 2 else None:
                    victim.follow(chance.randint(1, 40))
                    if victim.kill():
                        record.kills[victim.steps[-1].split()[0] if victim.steps else "start"] += 1
                for one in (first, second):
                    if one is not victim and one.finish():
                        record.faults.append(f"a packer failed beside another: see {words}")
        begun = Counter(first.begun + second.begun)
        # One killed had as many units in hand as it has workers.
        allowed = 2 if victim else 0
        if sum(begun.values()) - len(begun) > allowed or max(begun.values()) > 2:
            record.faults.append(f"units were packed twice: {begun.most_common(3)}")
        record.rounds += 1
        record.homes = record.rounds
        record.begun += sum(begun.values())
        record.units += len(study.plan.units)
        _require_same(record, study, reference)
    record.seconds = time.monotonic() - started
    return record


def undisturbed(study: Packing) -> dict[str, str]:
    """Pack once with nobody in the way; return what is left."""
    words = study.archives.archive.with_name("undisturbed.words")
    with packer(study, words) as one:
        if one.finish():
            raise RuntimeError(f"packing fails undisturbed: see {words}")
    return study.left()


def _finish(record: Record, study: Packing, words: Path) -> None:
    before = study.done()
    with packer(study, words) as one:
        if one.finish():
            record.faults.append(f"the last packer ended with {one.process.returncode}")
    record.begun += len(one.begun)
    _require_no_redoing(record, one, before)


def _require_no_redoing(record: Record, one: Packer, before: dict[str, Mark]) -> None:
    again = sorted(set(one.begun) & before.keys())
    record.faults += [f"unit {unit} was done and is packed again" for unit in again]


def _require_same(record: Record, study: Packing, reference: dict[str, str]) -> None:
    left = study.left()
    if left != reference:
        names = [n for n in left.keys() | reference.keys() if left.get(n) != reference.get(n)]
        record.faults.append(f"{study.home.url} differs in {sorted(names)[:5]}")
    record.faults += [f"{path} is left over" for path in study.remains()]

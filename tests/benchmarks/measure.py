"""Variants of one piece of work, timed in turns so that a busy machine is busy for all of them."""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.benchmarks.report.form import Clock, Role, Row
from tests.benchmarks.report.machine import processor_seconds

CLOCKS: dict[Clock, Callable[[], float]] = {
    "wall": time.perf_counter,
    "processor": processor_seconds,
}
DIGITS = 6
"""Of a second, after the point: no clock here knows more."""


@dataclass(frozen=True)
class Variant:
    """One way to do the work."""

    name: str
    role: Role
    work: Callable[[], object]
    rounds: int | None = None
    """Rounds it takes part in, where fewer than the others'."""
    warmed: bool = True
    """Run once before the clock starts."""


def in_turns(variants: Sequence[Variant], rounds: int, clock: Clock = "wall") -> tuple[Row, ...]:
    """Time every variant once per round; the order turns by one place from round to round."""
    for variant in variants:
        if variant.warmed:
            variant.work()
    seconds: list[list[float]] = [[] for _ in variants]
    for turn in range(rounds):
        for place in range(len(variants)):
            number = (place + turn) % len(variants)
            variant = variants[number]
            if variant.rounds is None or turn < variant.rounds:
                seconds[number].append(clocked(variant.work, clock))
    return tuple(
        Row(variant=variant.name, role=variant.role, seconds=tuple(times))
        for variant, times in zip(variants, seconds, strict=True)
    )


def clocked(work: Callable[[], object], clock: Clock = "wall") -> float:
    """Return the seconds that work takes, after memory was tidied."""
    now = CLOCKS[clock]
    gc.collect()
    started = now()
    work()
    return round(now() - started, DIGITS)

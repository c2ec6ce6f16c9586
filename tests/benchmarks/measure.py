"""Variants of one piece of work, timed in turns so that a busy machine is busy for all of them."""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

Role = Literal["ours", "plain", "library", "floor", "other"]
"""`plain` is the literal transcription, `library` what one would otherwise take, `floor` what no
code can do without; `other` is another setting of ours."""


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


@dataclass(frozen=True)
class Measured:
    """What a variant took, round by round."""

    name: str
    role: Role
    seconds: tuple[float, ...]
    ratio: float
    """Median over rounds of its time against ours in the same round."""

    @property
    def median(self) -> float:
        """Median seconds."""
        return median(self.seconds)


@dataclass(frozen=True)
class Result:
    """One benchmark's table. The first row is ours."""

    title: str
    rows: tuple[Measured, ...]
    amount: float
    """How much of `unit` each variant worked through."""
    unit: str
    notes: tuple[str, ...] = field(default=())

    def plain(self) -> dict[str, Any]:
        """Return it as JSON values."""
        rows = [
            {
                "name": row.name,
                "role": row.role,
                "median_seconds": row.median,
                "ratio_to_ours": row.ratio,
                "seconds": list(row.seconds),
            }
            for row in self.rows
        ]
        return {"amount": self.amount, "unit": self.unit, "rows": rows, "notes": list(self.notes)}


def in_turns(variants: Sequence[Variant], rounds: int) -> tuple[Measured, ...]:
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
                seconds[number].append(_clocked(variant.work))
    return tuple(
        Measured(variant.name, variant.role, tuple(times), _ratio(times, seconds[0]))
        for variant, times in zip(variants, seconds, strict=True)
    )


def _clocked(work: Callable[[], object]) -> float:
    gc.collect()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _ratio(times: Sequence[float], ours: Sequence[float]) -> float:
    return median(theirs / our for theirs, our in zip(times, ours, strict=False))

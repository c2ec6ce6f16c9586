"""The demo's pre-training step: ours, the plain transcription, and the floor; with two allocators.

Every variant lives in a child process of its own, as a training job does, and all take turns.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Self

from flows.jobs.launch import ALLOCATOR
from storage.processes import bound
from tests.benchmarks.child import CONFIG, step_operations
from tests.benchmarks.measure import Result, Variant, in_turns

ROUNDS = 9


class Child:
    """A process that takes one step per call."""

    def __init__(self, variant: str, environment: Mapping[str, str]) -> None:
        inherited = {key: value for key, value in os.environ.items() if key not in ALLOCATOR}
        self._process = subprocess.Popen(
            bound([sys.executable, "-m", "tests.benchmarks.child", variant]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**inherited, **environment},
        )

    def __call__(self) -> None:
        """Take one step and wait for it."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("step\n")
        self._process.stdin.flush()
        if self._process.stdout.readline() != "done\n":
            raise RuntimeError(f"{self._process.args!r} ended before its step was done")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(30)


def run() -> Result:
    """Measure forward, loss and backward on all cores; no optimiser and no data loading."""
    with ExitStack() as stack:

        def child(variant: str, environment: Mapping[str, str]) -> Child:
            return stack.enter_context(Child(variant, environment))

        plain = child("transcription", {})
        rows = in_turns(
            [
                Variant("fast model, job's allocator settings", "ours", child("fast", ALLOCATOR)),
                Variant("fast model, default allocator", "other", child("fast", {})),
                Variant(
                    "transcription, job's settings", "plain", child("transcription", ALLOCATOR)
                ),
                Variant("transcription, default allocator", "plain", plain),
                Variant("bare matrix products", "floor", child("products", {})),
            ],
            ROUNDS,
        )
    total = step_operations()
    notes = (
        f"{total / 1e9:.1f} GFLOP counted per step of {CONFIG.data.batch_size} mixtures",
        f"ours {total / rows[0].median / 1e9:.0f} GFLOP/s, "
        f"bare products {total / rows[-1].median / 1e9:.0f} GFLOP/s",
    )
    return Result("The training step", rows, CONFIG.data.batch_size, "mixtures", notes)

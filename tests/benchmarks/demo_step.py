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
from tests.benchmarks.benchmark import Benchmark
from tests.benchmarks.demo_child import CONFIG, step_operations
from tests.benchmarks.measure import Variant, in_turns
from tests.benchmarks.report.form import Figure, Measurement

ROUNDS = 7
OURS = "fast model, job's allocator settings"


class Child:
    """A process that takes one step per call."""

    def __init__(self, variant: str, environment: Mapping[str, str]) -> None:
        inherited = {key: value for key, value in os.environ.items() if key not in ALLOCATOR}
        self._process = subprocess.Popen(
            bound([sys.executable, "-m", "tests.benchmarks.demo_child", variant]),
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


def run(quick: bool) -> Measurement:
    """Measure forward, loss and backward on all cores; no optimiser and no data loading."""
    with ExitStack() as stack:

        def child(variant: str, environment: Mapping[str, str]) -> Child:
            return stack.enter_context(Child(variant, environment))

        variants = [
            Variant(OURS, "ours", child("fast", ALLOCATOR)),
            Variant("fast model, default allocator", "other", child("fast", {})),
            Variant("transcription, job's settings", "plain", child("transcription", ALLOCATOR)),
            Variant("transcription, default allocator", "plain", child("transcription", {})),
            Variant("bare matrix products", "floor", child("products", {})),
        ]
        rows = in_turns(variants, 1 if quick else ROUNDS)
    total = step_operations() / 1e9
    rates = [
        Figure(what=f"rate of {row.variant}", unit="GFLOP/s", values=tuple(
            total / seconds for seconds in row.seconds
        ))
        for row in (rows[0], rows[-1])
    ]  # fmt: skip
    return Measurement(
        amount=CONFIG.data.batch_size, unit="mixtures", rows=rows,
        figures=(Figure(what="counted operations", unit="GFLOP", values=(total,)), *rates),
    )  # fmt: skip


BENCHMARK = Benchmark(
    name="demo-step",
    title="The demo's training step",
    words=f"""\
Forward, MixIT loss and backward of the recipe `pretrain_demo` ({CONFIG.data.batch_size} mixtures of
{CONFIG.data.segment_seconds:g} s, {CONFIG.model.outputs} outputs, float32) on all cores, without
optimiser and data loading. The transcription is the model as published,
`tests/training/models/bs_locoformer/transcription.py`, with the same weights, objective and input.
Each variant has a process of its own; *the job's settings* are the allocator environment that
`flows.jobs.launch` gives every training job (`ALLOCATOR`), and the default is glibc's. The floor
does the operations that are counted for a forward pass, three times for forward and backward, as
float32 products of square matrices.""",
    omitted="the published sizes, dropout, bfloat16, a GPU, peak memory.",
    run=run,
)

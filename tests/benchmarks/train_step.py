"""`python -m tests.benchmarks.train_step`: a training step at a published size, on a GPU if any.

Ours, as it is, compiled, and with CUDA graphs, and the plain eager transcription of the paper with
torch's fused attention, on the same batch in turns: forward, MixIT loss, backward, clipping and
AdamW, without data loading and dropout. Beside it, measured in the same run: the rate of bare
matrix products, the share of it reached, peak memory, the loss's share of a step, the share that
waits for the real loader, the GPU's idle time, and where the time goes; each beside its target.

What fails, such as a variant that does not fit or does not compile, is named, and the rest goes on.
The figures are written after every part, so that a run that is cut off keeps what it has measured.

Operations are counted, not measured (`operations` of a model's settings): multiplications and
additions of every convolution, linear map and attention product of a forward pass, three times for
forward and backward. Norms, gates, transforms, loss, optimiser and recomputation count as nothing.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from flows.jobs.launch import ALLOCATOR
from tests.benchmarks.feeding import waiting
from tests.benchmarks.measure import Measured, Variant, in_turns
from tests.benchmarks.step import SIZES, Lab, MatrixRate, Setup, Step, peak_memory
from training.engine.memory import release
from training.runtime import RuntimeConfig

TOP = 15
"""Kernels shown of a profile."""
WIDTH = 120
FED_STEPS, WATCHED_STEPS = 20, 5
"""Steps that are fed by the loader, and that are watched for pauses."""
TARGETS = {
    "speed": ">= 2.5 x the transcription, >= 40 % of bare products",
    "memory": "16 MoMs in <= 60 GB",
    "loss": "<= 3 %",
    "data": "< 3 %",
}
"""For medium, 12 outputs, 6 s, bf16, on one H200."""

Figures = dict[str, float]
Answer = TypeVar("Answer")


def main(arguments: list[str] | None = None) -> None:
    """Measure and print; every table stands for this run alone."""
    chosen = _parser().parse_args(arguments)
    lab = Lab(_setup(chosen))
    console = Console() if Console().is_terminal else Console(width=WIDTH)
    console.print(f"{lab.describe()}")
    figures: Figures = {}
    for part in (
        partial(speed, console, lab, chosen.rounds),
        partial(memory, console, lab, chosen.memory_batch),
        partial(shares, console, lab),
        partial(feeding, console, lab, chosen.workers),
        partial(pauses, console, lab),
        partial(hot_spots, console, lab),
    ):
        figures |= attempted(console, part.func.__name__, part) or {}
        if chosen.json:
            chosen.json.write_text(json.dumps(figures, indent=2) + "\n")


def attempted(console: Console, what: str, work: Callable[[], Answer]) -> Answer | None:
    """Do one part; where it fails, say so, let go of its memory and return nothing."""
    try:
        return work()
    except (RuntimeError, AssertionError, MemoryError) as error:
        said = " ".join(str(error).split())[:300]
        console.print(f"{what}: failed, {type(error).__name__}: {said}", markup=False)
    finally:
        release()
    return None


def speed(console: Console, lab: Lab, rounds: int) -> Figures:
    """Time ours, the transcription and bare matrix products in turns; return the figures."""
    rate = MatrixRate(lab.device, lab.dtype)
    variants = []
    for name, maker in lab.steps().items():
        step = attempted(console, name, partial(_warmed, maker))
        if step is not None:
            variants.append(Variant(name, "ours", step))
    rows = in_turns([*variants, Variant("bare matrix products", "floor", rate)], rounds)
    matmul = rate.operations / rows[-1].median
    samples = int(lab.setup.seconds * lab.config.sample_rate)
    work = 3 * lab.setup.batch * lab.config.operations(samples)
    table = Table(title=f"{work / 1e9:,.2f} GFLOP counted per step of {lab.setup.batch} MoMs")
    for heading in ("variant", "median s", "MoMs/s", "x transcription", "GFLOP/s", "of products"):
        table.add_column(heading, justify="left" if heading == "variant" else "right")
    plain = next((row.median for row in rows if row.name == "transcription"), float("nan"))
    for row in rows[:-1]:
        table.add_row(*_cells(row, lab.setup.batch, plain, work, matmul))
    console.print(table)
    console.print(f"bare {lab.dtype} products: {matmul / 1e9:,.0f} GFLOP/s")
    console.print(f"target: {TARGETS['speed']}")
    figures = {"matmul_flops": matmul, "step_flops": work}
    return figures | {f"{row.name}: seconds": row.median for row in rows[:-1]}


def _warmed(maker: Callable[[], Step]) -> Step:
    """Make a step and take it twice: compiling, and the second one's CUDA graphs, are done."""
    step = maker()
    step()
    step()
    return step


def _cells(row: Measured, batch: int, plain: float, work: float, matmul: float) -> list[str]:
    seconds = row.median
    return [
        row.name, f"{seconds:.4g}", f"{batch / seconds:.3g}", f"{plain / seconds:.2f}",
        f"{work / seconds / 1e9:,.0f}", f"{work / seconds / matmul:.1%}",
    ]  # fmt: skip


def memory(console: Console, lab: Lab, batch: int) -> Figures:
    """Print the peak memory of a step of `batch` MoMs, which only CUDA counts."""
    if lab.device.type != "cuda":
        console.print("peak memory: counted on CUDA alone")
        return {}
    figures = {}
    for recompute in ("nothing", "cheap", "everything"):
        runtime = lab.runtime.model_copy(update={"recompute": recompute})
        what = f"peak memory of {batch} MoMs, recompute={recompute}"
        peak = attempted(console, what, partial(peak_memory, lab, runtime, batch))
        if peak is not None:
            console.print(f"{what}: {peak / 1e9:.1f} GB (target: {TARGETS['memory']})")
            figures[f"peak bytes, recompute={recompute}"] = float(peak)
    return figures


def shares(console: Console, lab: Lab) -> Figures:
    """Print which share of a step is levels, assignment and loss, forward and backward."""
    step, loss = lab.ours(lab.runtime), lab.loss_alone()
    whole, part = in_turns([Variant("step", "ours", step), Variant("loss", "other", loss)], 5)
    share = part.median / whole.median
    console.print(f"levels, assignment and loss: {share:.1%} of a step (target: {TARGETS['loss']})")
    return {"loss_share": share}


def feeding(console: Console, lab: Lab, workers: int) -> Figures:
    """Print which share of a step waits for the real loader, reading FLAC clips from shards."""
    cuda = lab.device.type == "cuda"
    share = waiting(lab, lab.ours(lab.runtime), workers, FED_STEPS if cuda else 2)
    console.print(
        f"waiting for {workers} threads that read: {share:.1%} of a step "
        f"(target: {TARGETS['data']})"
    )
    return {"waiting_share": share}


def pauses(console: Console, lab: Lab) -> Figures:
    """Print which share of several steps no kernel runs in."""
    if lab.device.type != "cuda":
        console.print("GPU idle: seen on CUDA alone")
        return {}
    step = lab.ours(lab.runtime)
    step()
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as recorded:
        for _ in range(WATCHED_STEPS):
            step()
    spans = [
        (event.time_range.start, event.time_range.end)
        for event in recorded.events() or []
        if event.device_type.name == "CUDA" and not event.is_user_annotation
    ]
    share = idle(spans)
    console.print(f"GPU idle, fixed batch: {share:.1%} of {WATCHED_STEPS} steps")
    return {"idle_share": share}


def idle(spans: list[tuple[float, float]]) -> float:
    """Return the share of the time from the first span to the last that none covers."""
    end = begin = min(start for start, _ in spans)
    covered = 0.0
    for start, stop in sorted(spans):
        covered += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return 1 - covered / (end - begin)


def hot_spots(console: Console, lab: Lab) -> Figures:
    """Print where the time of one step goes, by kernel on CUDA, by operator on a CPU."""
    step = lab.ours(lab.runtime)
    step()
    cuda = lab.device.type == "cuda"
    activity = ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU
    with profile(activities=[activity], acc_events=True) as recorded:
        step()
    spent = {
        event.key: event.self_device_time_total if cuda else event.self_cpu_time_total
        for event in recorded.key_averages()
        if not event.is_user_annotation
    }
    total = sum(spent.values()) or 1.0
    table = Table(title=f"one step: {total / 1e6:.4g} s in {'kernels' if cuda else 'operators'}")
    table.add_column("name", overflow="ellipsis", no_wrap=True)
    table.add_column("share", justify="right")
    for name in sorted(spent, key=lambda name: -spent[name])[:TOP]:
        table.add_row(name, f"{spent[name] / total:.1%}")
    console.print(table)
    return {}


def _setup(chosen: argparse.Namespace) -> Setup:
    return Setup(chosen.size, chosen.outputs, chosen.seconds, chosen.batch, chosen.compile)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.train_step")
    parser.add_argument("--size", choices=sorted(SIZES), default="medium")
    parser.add_argument("--outputs", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--batch", type=int, default=8, help="MoMs of a step, for all variants")
    parser.add_argument("--memory-batch", type=int, default=16, help="MoMs, for ours alone")
    compiling = RuntimeConfig.model_fields["compile"].default
    parser.add_argument("--compile", choices=["auto", "on", "off"], default=compiling)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=4, help="threads of the loader")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser


if __name__ == "__main__":
    if not os.environ.keys() >= ALLOCATOR.keys():
        # As a training job runs; the allocator reads its settings when a process begins.
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **ALLOCATOR})
    main()

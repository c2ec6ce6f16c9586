"""`python -m tests.benchmarks.train_step`: a training step at a published size, on a GPU if any.

Ours, as it is and compiled, and the plain eager transcription of the paper with torch's fused
attention, on the same batch in turns: forward, MixIT loss, backward, clipping and AdamW, without
data loading and dropout. Beside it, measured in the same run: the rate of bare matrix products, the
share of it reached, peak memory, the loss's share of a step, and where the time goes.

Operations are counted, not measured (`tests/benchmarks/operations.py`): multiplications and
additions of every convolution, linear map and attention product of a forward pass, three times for
forward and backward. Norms, gates, transforms, loss, optimiser and recomputation count as nothing.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from flows.launch import ALLOCATOR
from tests.benchmarks.measure import Variant, in_turns
from tests.benchmarks.operations import whole_model
from tests.benchmarks.step import SIZES, Lab, MatrixRate, Setup, peak_memory
from training.config import RuntimeConfig

TOP = 15
"""Kernels shown of a profile."""
WIDTH = 120


def main(arguments: list[str] | None = None) -> None:
    """Measure and print; every table stands for this run alone."""
    chosen = _parser().parse_args(arguments)
    lab = Lab(_setup(chosen))
    console = Console() if Console().is_terminal else Console(width=WIDTH)
    console.print(f"{lab.describe()}")
    figures = speed(console, lab, chosen.rounds)
    figures |= memory(console, lab, chosen.memory_batch)
    figures |= shares(console, lab)
    hot_spots(console, lab)
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=2) + "\n")


def speed(console: Console, lab: Lab, rounds: int) -> dict[str, float]:
    """Time ours, the transcription and bare matrix products in turns; return the figures."""
    rate = MatrixRate(lab.device, lab.dtype)
    steps = lab.steps()
    variants = [Variant(name, "ours", step) for name, step in steps.items()]
    rows = in_turns([*variants, Variant("bare matrix products", "floor", rate)], rounds)
    matmul = rate.operations / rows[-1].median
    frames = int(lab.setup.seconds * lab.config.sample_rate) // lab.config.hop
    work = 3 * lab.setup.batch * whole_model(lab.config, frames)
    plain = next(row for row in rows if row.name == "transcription").median
    table = Table(title=f"{work / 1e9:,.2f} GFLOP counted per step of {lab.setup.batch} MoMs")
    for heading in ("variant", "median s", "MoMs/s", "x transcription", "GFLOP/s", "of products"):
        table.add_column(heading, justify="left" if heading == "variant" else "right")
    figures = {"matmul_flops": matmul, "step_flops": work}
    for row in rows[:-1]:
        seconds = row.median
        table.add_row(
            row.name, f"{seconds:.4g}", f"{lab.setup.batch / seconds:.3g}",
            f"{plain / seconds:.2f}", f"{work / seconds / 1e9:,.0f}",
            f"{work / seconds / matmul:.1%}",
        )  # fmt: skip
        figures[f"{row.name}: seconds"] = seconds
    console.print(table)
    console.print(f"bare {lab.dtype} products: {matmul / 1e9:,.0f} GFLOP/s")
    return figures


def memory(console: Console, lab: Lab, batch: int) -> dict[str, float]:
    """Print the peak memory of a step of `batch` MoMs, which only CUDA counts."""
    if lab.device.type != "cuda":
        console.print("peak memory: counted on CUDA alone")
        return {}
    figures = {}
    for recompute in ("nothing", "cheap", "everything"):
        runtime = lab.runtime.model_copy(update={"recompute": recompute})
        peak = peak_memory(lab, runtime, batch)
        said = "does not fit" if peak is None else f"{peak / 1e9:.1f} GB"
        console.print(f"peak memory of {batch} MoMs, recompute={recompute}: {said}")
        figures[f"peak bytes, recompute={recompute}"] = float(peak or -1)
    return figures


def shares(console: Console, lab: Lab) -> dict[str, float]:
    """Print which share of a step is levels, assignment and loss, forward and backward."""
    step, loss = lab.ours(lab.runtime), lab.loss_alone()
    whole, part = in_turns([Variant("step", "ours", step), Variant("loss", "other", loss)], 5)
    console.print(f"levels, assignment and loss: {part.median / whole.median:.1%} of a step")
    return {"loss_share": part.median / whole.median}


def hot_spots(console: Console, lab: Lab) -> None:
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
    }
    total = sum(spent.values()) or 1.0
    table = Table(title=f"one step: {total / 1e6:.4g} s in {'kernels' if cuda else 'operators'}")
    table.add_column("name", overflow="ellipsis", no_wrap=True)
    table.add_column("share", justify="right")
    for name in sorted(spent, key=lambda name: -spent[name])[:TOP]:
        table.add_row(name, f"{spent[name] / total:.1%}")
    console.print(table)


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
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser


if __name__ == "__main__":
    if not os.environ.keys() >= ALLOCATOR.keys():
        # As a training job runs; the allocator reads its settings when a process begins.
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **ALLOCATOR})
    main()

"""A training step at a published size, on a GPU if there is one.

`python -m tests.benchmarks.published_step` takes it with another size, length or batch, and prints.

What fails, such as a variant that does not fit or does not compile, is named, and the rest goes on.
The figures are written after every part, so that a run that is cut off keeps what it has measured.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from rich.console import Console
from rich.markdown import Markdown

from flows.jobs.launch import ALLOCATOR
from tests.benchmarks.benchmark import Benchmark
from tests.benchmarks.feeding import waiting
from tests.benchmarks.lab import SIZES, Lab, MatrixRate, Setup, Step, peak_memory
from tests.benchmarks.measure import Variant, in_turns
from tests.benchmarks.profiling import hot_spots, pauses
from tests.benchmarks.report.form import Comparison, Figure, Measurement, Role, Row, Target
from tests.benchmarks.report.page import tables
from training.engine.memory import release
from training.settings.runtime import RuntimeConfig

WIDTH = 120
FED_STEPS, SHARE_ROUNDS = {"cuda": 20, "cpu": 2}, 5
"""Steps that are fed by the loader; rounds in which the loss is taken alone."""
SETUPS = {
    "cuda": ("--size=medium", "--outputs=12", "--seconds=6", "--batch=8", "--rounds=7"),
    "cpu": ("--size=small", "--outputs=12", "--seconds=1", "--batch=1", "--rounds=3"),
}
"""What is stored: the paper's medium where a GPU is, and what a CPU takes in seconds."""
QUICK = ("--size=micro", "--outputs=3", "--seconds=0.3", "--batch=1", "--rounds=1", "--compile=off")
TARGETS = {
    "speed": Target(at_least=2.5),
    "rate": Target(at_least=40),
    "memory": Target(at_most=60),
    "loss": Target(at_most=3),
    "data": Target(at_most=3),
}
"""For medium, 12 outputs, 6 s, bf16, on one H200."""
TRANSCRIPTION, PRODUCTS = "transcription", "bare matrix products"
OPERATIONS = "counted operations of a step"
GIGA = 1e9

Answer = TypeVar("Answer")


class Found:
    """What has been measured so far."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.rows: tuple[Row, ...] = ()
        self.comparisons: list[Comparison] = []
        self.figures: list[Figure] = []
        self.remarks = [lab.describe()]

    def add(self, what: str, unit: str, *values: float, target: str = "") -> None:
        """Note a figure; targets are for a GPU."""
        aim = self.target(target)
        self.figures.append(Figure(what=what, unit=unit, values=values, target=aim))

    def target(self, name: str) -> Target | None:
        """Return a target, where it applies."""
        setup = self.lab.setup
        published = (setup.size, setup.outputs, setup.seconds) == ("medium", 12, 6.0)
        return TARGETS.get(name) if published and self.lab.device.type == "cuda" else None

    def measurement(self) -> Measurement:
        """Return it all."""
        return Measurement(
            amount=self.lab.setup.batch, unit="mixtures of mixtures", rows=self.rows,
            comparisons=tuple(self.comparisons), figures=tuple(self.figures),
            remarks=tuple(self.remarks),
        )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    chosen = _parser().parse_args(arguments)
    lab = Lab(Setup(chosen.size, chosen.outputs, chosen.seconds, chosen.batch, chosen.compile))
    found = Found(lab)
    parts: dict[str, Callable[[], object]] = {
        "speed": lambda: speed(found, chosen.rounds),
        "memory": lambda: memory(found, chosen.memory_batch),
        "loss": lambda: shares(found),
        "data": lambda: feeding(found, chosen.workers),
        "idle time": lambda: found.figures.extend(pauses(lab)),
        "profile": lambda: found.figures.extend(hot_spots(lab)),
    }
    for name, part in parts.items():
        attempted(found, name, part)
        if chosen.json:
            chosen.json.write_text(found.measurement().model_dump_json(indent=1) + "\n")
    console = Console() if Console().is_terminal else Console(width=WIDTH)
    console.print(Markdown("\n\n".join(tables(found.measurement()))))


def attempted(found: Found, what: str, work: Callable[[], Answer]) -> Answer | None:
    """Do one part; where it fails, note it, let go of its memory and return nothing."""
    try:
        return work()
    except (RuntimeError, AssertionError, MemoryError) as error:
        said = " ".join(str(error).split())[:300]
        found.remarks.append(f"{what}: failed, {type(error).__name__}: {said}")
    finally:
        release()
    return None


def speed(found: Found, rounds: int) -> None:
    """Time ours, the transcription and bare matrix products in turns."""
    lab = found.lab
    rate = MatrixRate(lab.device, lab.dtype)
    variants: list[Variant] = []
    for name, maker in lab.steps().items():
        step = attempted(found, name, partial(_warmed, maker))
        if step is not None:
            variants.append(Variant(name, _role(name, variants), step))
    *steps, products = in_turns([*variants, Variant(PRODUCTS, "floor", rate)], rounds)
    found.rows = tuple(steps)
    samples = int(lab.setup.seconds * lab.config.sample_rate)
    work = 3 * lab.setup.batch * lab.config.operations(samples)
    found.add(OPERATIONS, "GFLOP", work / GIGA)
    rates = [rate.operations / one for one in products.seconds]
    found.add(f"rate of {PRODUCTS}, {lab.dtype}", "GFLOP/s", *(one / GIGA for one in rates))
    for row in steps:
        reached = [work / one for one in row.seconds]
        share = (100 * ours / bare for ours, bare in zip(reached, rates, strict=True))
        aim = "rate" if row.role == "ours" else ""
        found.add(f"rate of {row.variant}", "GFLOP/s", *(one / GIGA for one in reached))
        found.add(f"{row.variant}, of the rate of {PRODUCTS}", "%", *share, target=aim)
    if steps and steps[0].role == "ours" and steps[-1].variant == TRANSCRIPTION:
        found.comparisons.append(
            Comparison(what=f"{TRANSCRIPTION} / {steps[0].variant}", over=TRANSCRIPTION,
                       under=steps[0].variant, target=found.target("speed"))
        )  # fmt: skip


def _role(name: str, before: Sequence[Variant]) -> Role:
    """Return `ours` for the first of ours that can be made."""
    if name == TRANSCRIPTION:
        return "plain"
    return "other" if before else "ours"


def _warmed(maker: Callable[[], Step]) -> Step:
    """Make a step and take it twice: compiling, and the second one's CUDA graphs, are done."""
    step = maker()
    step()
    step()
    return step


def memory(found: Found, batch: int) -> None:
    """Find the peak memory of a step of `batch` MoMs, which only CUDA counts."""
    lab = found.lab
    if lab.device.type != "cuda":
        found.remarks.append("peak memory is counted on CUDA alone")
        return
    for recompute in ("nothing", "cheap", "everything"):
        runtime = lab.runtime.model_copy(update={"recompute": recompute})
        what = f"peak memory of {batch} mixtures of mixtures, recompute={recompute}"
        peak = attempted(found, what, partial(peak_memory, lab, runtime, batch))
        if peak is not None:
            found.add(what, "GB", peak / GIGA, target="memory")


def shares(found: Found) -> None:
    """Find which share of a step is levels, assignment and loss, forward and backward."""
    step, loss = found.lab.ours(found.lab.runtime), found.lab.loss_alone()
    variants = [Variant("step", "ours", step), Variant("loss", "other", loss)]
    whole, part = in_turns(variants, SHARE_ROUNDS)
    share = (100 * one / other for one, other in zip(part.seconds, whole.seconds, strict=True))
    found.add("levels, assignment and loss, of a step", "%", *share, target="loss")


def feeding(found: Found, workers: int) -> None:
    """Find which share of a step waits for the real loader, reading FLAC clips from shards."""
    lab = found.lab
    share = waiting(lab, lab.ours(lab.runtime), workers, FED_STEPS[lab.device.type])
    found.add(f"waiting for {workers} threads that read, of a step", "%", 100 * share,
              target="data")  # fmt: skip


def run(quick: bool) -> Measurement:
    """Measure in a process of its own, in which memory is allotted as in a training job."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        words = ["-m", "tests.benchmarks.published_step", *(QUICK if quick else SETUPS[device])]
        subprocess.run(
            [sys.executable, *words, "--json", str(figures)],
            env={**os.environ, **ALLOCATOR}, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        return Measurement.model_validate_json(figures.read_text())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.published_step")
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


BENCHMARK = Benchmark(
    name="published-step",
    title="A training step at a published size",
    words="""\
Forward, MixIT loss, backward, clipping and AdamW, without data loading and dropout: ours as it is,
on a GPU also compiled and with CUDA graphs, and the plain eager transcription of the paper with
torch's fused attention, on the same batch in turns. On a GPU this is the paper's medium model, in
bf16; on a CPU its small one, in float32, with a second of sound. Beside it, in the same run: the
rate of bare matrix products and the share of it reached, peak memory, the loss's share of a step,
the share that waits for the real loader, the GPU's idle time, and where the time of a step goes.

Operations are counted, not measured (`operations` of a model's settings): multiplications and
additions of every convolution, linear map and attention product of a forward pass, three times for
forward and backward. Norms, gates, transforms, loss, optimiser and recomputation count as nothing.
Targets are for one H200.""",
    omitted="several GPUs, dropout.",
    run=run,
)


if __name__ == "__main__":
    if not os.environ.keys() >= ALLOCATOR.keys():
        # As a training job runs; the allocator reads its settings when a process begins.
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **ALLOCATOR})
    main()

"""`python -m tests.benchmarks.budget`: days and cost of the published recipes, as Markdown.

From the operations counted and a rate: the one assumed in `RuntimeConfig.gpu_tflops`, or one that
`tests.benchmarks.train_step --json FILE` measured. Several GPUs are taken to be as many times as
fast; validation, checkpoints and the stages before and after training count as nothing.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import NamedTuple

from flows.studies.estimates import training_operations
from training import recipes
from training.runtime import RuntimeConfig

GPUS = (1, 8)
"""Eight are the authors', by their batch sizes; they tell no times."""
DOLLARS = 3.0
"""Assumed price of a GPU for an hour."""
JOBS = {
    "small, pre-training": recipes.pretrain_small,
    "small, fine-tuning": recipes.finetune_small,
    "medium, pre-training": recipes.pretrain_medium,
    "medium, fine-tuning": recipes.finetune_medium,
    "large, pre-training": recipes.pretrain_large,
    "large, fine-tuning": recipes.finetune_large,
}


class Row(NamedTuple):
    """What one training run takes."""

    job: str
    exaflop: float
    days: tuple[float, ...]
    """On each of `GPUS`."""
    dollars: float


def rows(tflops: float, dollars: float) -> list[Row]:
    """Return a row for each published run, on GPUs that sustain so much and cost so much."""
    found = []
    for job, recipe in JOBS.items():
        work = training_operations(recipe())
        hours = work / (tflops * 1e12) / 3600
        days = tuple(hours / 24 / gpus for gpus in GPUS)
        found.append(Row(job, work / 1e18, days, hours * dollars))
    return found


def markdown(found: list[Row]) -> str:
    """Return rows as a table."""
    heads = ["run", "EFLOP", *(f"days on {n} GPU{'s' * (n > 1)}" for n in GPUS), "cost"]
    lines = [heads, ["---"] * len(heads)]
    for row in found:
        days = [f"{value:.2g}" if value < 10 else f"{value:.0f}" for value in row.days]
        lines.append([row.job, f"{row.exaflop:.3g}", *days, f"${row.dollars:,.0f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def measured(figures: Path) -> float:
    """Return the TFLOP/s of the fastest of our variants in a file of `train_step`'s."""
    values: dict[str, float] = json.loads(figures.read_text())
    seconds = [value for name, value in values.items() if name.startswith("ours") and value > 0]
    return values["step_flops"] / min(seconds) / 1e12


def main(arguments: list[str] | None = None) -> None:
    """Print the table and what it rests on."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.budget")
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument("--tflops", type=float, default=RuntimeConfig().gpu_tflops)
    rate.add_argument("--figures", type=Path, help="what train_step --json wrote")
    parser.add_argument("--dollars", type=float, default=DOLLARS, help="for a GPU and an hour")
    chosen = parser.parse_args(arguments)
    tflops = measured(chosen.figures) if chosen.figures else chosen.tflops
    said = "measured" if chosen.figures else "assumed, not measured"
    sys.stdout.write(
        f"{markdown(rows(tflops, chosen.dollars))}\n\n{tflops:.4g} TFLOP/s on a GPU ({said}), "
        f"${chosen.dollars:g} for a GPU and an hour.\n"
    )


if __name__ == "__main__":
    main()

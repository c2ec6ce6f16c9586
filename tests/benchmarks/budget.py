"""`python -m tests.benchmarks.budget`: days and cost of the published recipes, as Markdown.

From the operations counted and a rate: the one assumed in `RuntimeConfig.gpu_tflops`, or that of
the newest result of the benchmark `published-step` on a GPU. Several GPUs are taken to be as many
times as fast; validation, checkpoints and the stages before and after training count as nothing.
"""

import argparse
import sys
from collections.abc import Iterable
from typing import NamedTuple

from flows.studies.estimates import training_operations
from tests.benchmarks.published_step import OPERATIONS
from tests.benchmarks.report import page
from tests.benchmarks.report.form import Measurement, Result
from tests.benchmarks.report.store import RESULTS, newest, stored
from training import recipes
from training.settings.runtime import RuntimeConfig

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
    body = []
    for row in found:
        days = [f"{value:.2g}" if value < 10 else f"{value:.0f}" for value in row.days]
        body.append([row.job, f"{row.exaflop:.3g}", *days, f"${row.dollars:,.0f}"])
    return page.table(heads, body)


def measured(found: Measurement) -> float:
    """Return the TFLOP/s of the fastest of our variants in a result of `published-step`."""
    work = next(one.median for one in found.figures if one.what == OPERATIONS) * 1e9
    return work / min(row.median for row in found.rows if row.role in ("ours", "other")) / 1e12


def on_gpu(results: Iterable[Result]) -> float:
    """Return what the newest result on a GPU says.

    Raises:
        ValueError: there is none.
    """
    found = newest(results).get(("published-step", "GPU"))
    if found is None:
        raise ValueError(
            "no result of published-step on a GPU is stored; on a machine with one, run: "
            "python -m tests.benchmarks published-step"
        )
    return measured(found.measured)


def table(tflops: float = RuntimeConfig().gpu_tflops, dollars: float = DOLLARS) -> str:
    """Return the table as pages hold it: at the rate and the price that are assumed."""
    return markdown(rows(tflops, dollars))


def main(arguments: list[str] | None = None) -> None:
    """Print the table and what it rests on."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.budget")
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument("--tflops", type=float, default=RuntimeConfig().gpu_tflops)
    rate.add_argument("--measured", action="store_true", help="by the newest result on a GPU")
    parser.add_argument("--dollars", type=float, default=DOLLARS, help="for a GPU and an hour")
    chosen = parser.parse_args(arguments)
    tflops = on_gpu(stored(RESULTS)) if chosen.measured else chosen.tflops
    said = "measured" if chosen.measured else "assumed, not measured"
    sys.stdout.write(
        f"{table(tflops, chosen.dollars)}\n\n{tflops:.4g} TFLOP/s on a GPU ({said}), "
        f"${chosen.dollars:g} for a GPU and an hour.\n"
    )


if __name__ == "__main__":
    main()

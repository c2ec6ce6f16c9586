"""`python -m tests.benchmarks [NAME...] [--json FILE]`: measure, and print a table each."""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from tests.benchmarks import (
    assignment,
    orchestration,
    packing,
    reading,
    scale,
    scoring,
    separating,
    synthesising,
    training_step,
)
from tests.benchmarks.measure import Result

BENCHMARKS: dict[str, Callable[[], Result]] = {
    "packing": packing.run,
    "reading": reading.run,
    "scale": scale.run,
    "training-step": training_step.run,
    "assignment": assignment.run,
    "scoring": scoring.run,
    "synthesising": synthesising.run,
    "separating": separating.run,
    "orchestration": orchestration.run,
}

WIDTH = 120
"""Columns where there is no terminal to ask."""


def main() -> None:
    """Run the benchmarks that were named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    chosen = parser.parse_args()
    unknown = sorted(set(chosen.names) - BENCHMARKS.keys())
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    results: dict[str, Result] = {}
    started = time.monotonic()
    for name in chosen.names or BENCHMARKS:
        with console.status(f"measuring {name}"):
            results[name] = BENCHMARKS[name]()
        show(console, name, results[name])
    console.print(f"{len(results)} benchmarks in {time.monotonic() - started:.0f} s")
    if chosen.json:
        figures = {name: result.plain() for name, result in results.items()}
        text = json.dumps({"machine": machine(), "benchmarks": figures}, indent=2)
        chosen.json.write_text(text + "\n")


def show(console: Console, name: str, result: Result) -> None:
    """Print a benchmark's table and notes."""
    table = Table(title=f"{name}: {result.title}, {result.amount:g} {result.unit}")
    table.add_column("variant")
    table.add_column("role")
    for heading in ("median s", "range s", "rounds", "time against ours"):
        table.add_column(heading, justify="right")
    for row in result.rows:
        span = f"{min(row.seconds):.4g} to {max(row.seconds):.4g}"
        rounds = str(len(row.seconds))
        table.add_row(row.name, row.role, f"{row.median:.4g}", span, rounds, f"{row.ratio:.3g}")
    console.print(table)
    for note in result.notes:
        console.print(f"  {note}")


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "vector_instructions": torch.backends.cpu.get_cpu_capability(),
        "torch_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


if __name__ == "__main__":
    main()

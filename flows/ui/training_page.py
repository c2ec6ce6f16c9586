"""A training job while it runs: its last logged rows and its loss, on one page of Markdown."""

from collections.abc import Mapping
from typing import Any

from flows.ui import svg
from storage.home.runs import Run
from training.report.material import read_losses

LAST = 8
"""Rows of the table, the latest first."""

COLUMNS = {
    "step": ("step", "{:.0f}"),
    "loss": ("loss (dB)", "{:.2f}"),
    "snr_louder": ("SNR, louder mixture (dB)", "{:.2f}"),
    "snr_quieter": ("SNR, quieter mixture (dB)", "{:.2f}"),
    "grad_norm": ("gradient norm", "{:.3g}"),
    "lr": ("learning rate", "{:.2e}"),
    "examples_per_second": ("examples/s", "{:.3g}"),
    "data_wait": ("data wait", "{:.1%}"),
    "gpu_memory_gb": ("GPU memory (GB)", "{:.1f}"),
    "effective_sources": ("effective sources", "{:.2f}"),
    "alive_outputs": ("outputs alive", "{:.2f}"),
    "skipped": ("steps skipped", "{:.0f}"),
}
"""Of a training row: its heading and how its number is written."""


def page(label: str, run: Run) -> str:
    """Return the page of a training job; nothing before its first row."""
    rows = [row for row in run.read_metrics() if row.get("kind") == "train"]
    if not rows:
        return ""
    now = rows[-1]
    names = [name for name in COLUMNS if name in now]
    table = [
        "| " + " | ".join(COLUMNS[name][0] for name in names) + " |",
        "|" + " ---: |" * len(names),
        *(_table_row(row, names) for row in reversed(rows[-LAST:])),
    ]
    left = f", about {now['eta_seconds'] / 3600:.1f} h to go" if "eta_seconds" in now else ""
    parts = [
        f"**{label}:** step {now['step']} of {now['steps']} ({now['step'] / now['steps']:.0%})"
        f"{left}",
        curve(label, run),
        "\n".join(table),
    ]
    return "\n\n".join(part for part in parts if part)


def curve(label: str, run: Run) -> str:
    """Return a Markdown picture of a job's loss; nothing where none is logged yet."""
    losses = read_losses(run.metrics)
    series = {"training": losses.train, "validation": losses.validation}
    return svg.curves(f"Loss of {label} (dB) over its steps", series)


def _table_row(row: Mapping[str, Any], names: list[str]) -> str:
    return "| " + " | ".join(_cell(name, row.get(name)) for name in names) + " |"


def _cell(name: str, value: Any) -> str:
    return COLUMNS[name][1].format(value) if isinstance(value, int | float) else ""

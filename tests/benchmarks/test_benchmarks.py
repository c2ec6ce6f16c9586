"""Benchmarks still run. How long they take says nothing here."""

import subprocess
import sys

import pytest

from tests.benchmarks.report.machine import ROOT
from tests.benchmarks.table import BENCHMARKS

LONG = {
    "scoring": "museval takes a quarter of a minute; tests/training/scoring/ holds both sides",
    "separating": "the demo's model takes half a minute; its parts are those of demo-step",
    "published-step": "test_published_step.py takes its parts",
    "assignment": "test_page.py runs it",
    "orchestration": "servers and a whole study take minutes",
}
"""Those that are left out here, with the reason."""


@pytest.mark.slow
def test_benchmarks_run() -> None:
    names = [name for name in BENCHMARKS if name not in LONG]
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "--quick", *names],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(names)} benchmarks in" in done.stdout
    for words in ("ours / floor, clips", "peak memory", "rate of bare matrix products"):
        assert words in done.stdout


def test_what_is_left_out_exists() -> None:
    assert LONG.keys() < BENCHMARKS.keys()

"""The benchmark of a training step runs, tiny and on the CPU: there its figures mean nothing."""

import json
from pathlib import Path

import pytest

from tests.benchmarks import train_step


def test_one_command_prints_every_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures_at = tmp_path / "figures.json"
    tiny = ["--size=micro", "--outputs=3", "--seconds=0.3", "--batch=1", "--rounds=1"]
    train_step.main([*tiny, "--compile=off", "--json", str(figures_at)])
    said = capsys.readouterr().out
    for words in ("transcription", "GFLOP counted", "peak memory", "of a step", "one step"):
        assert words in said
    figures = json.loads(figures_at.read_text())
    assert figures["matmul_flops"] > 0
    assert figures["loss_share"] > 0

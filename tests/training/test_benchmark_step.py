"""The benchmark of a training step runs, tiny and on the CPU: there its figures mean nothing."""

import json
from pathlib import Path

import pytest

from tests.benchmarks import train_step


def test_one_command_prints_every_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--size micro --outputs 3 --seconds 0.3 --batch 1 --rounds 1 --compile off".split()
    train_step.main([*words, "--json", str(tmp_path / "figures.json")])
    said = capsys.readouterr().out
    for heading in ("transcription", "GFLOP counted per step", "peak memory", "of a step", "one step"):
        assert heading in said
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["matmul_flops"] > 0
    assert 0 < figures["loss_share"]

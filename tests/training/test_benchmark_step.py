"""The benchmark of a training step runs, tiny and on the CPU: there its figures mean nothing."""

import json
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.benchmarks import train_step
from tests.benchmarks.operations import whole_model
from training.config import BsLocoformerConfig
from training.models import build
from training.recipes import MEDIUM, TINY


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


@pytest.mark.parametrize("config", [TINY, MEDIUM], ids=["tiny", "medium"])
def test_operations_are_those_that_torch_counts(config: BsLocoformerConfig) -> None:
    model = build(config.model_copy(update={"dropout": 0.0}))
    x = torch.randn(1, 1, 2, 44_100)
    # The counter knows plain attention; the fused one of CPUs it does not.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        model(x)
    counted = whole_model(config, x.shape[-1] // config.hop)
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.03)

"""The benchmark of a training step runs, tiny and on the CPU: there its figures mean nothing."""

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.benchmarks import budget, train_step
from tests.benchmarks.step import Lab, Setup, Step
from training.models.bs_locoformer.config import MEDIUM, TINY, BsLocoformerConfig
from training.models.separator import build


def test_one_command_prints_every_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures_at = tmp_path / "figures.json"
    tiny = ["--size=micro", "--outputs=3", "--seconds=0.3", "--batch=1", "--rounds=1"]
    train_step.main([*tiny, "--compile=off", "--json", str(figures_at)])
    said = capsys.readouterr().out
    assert "failed" not in said
    for words in (
        "transcription", "GFLOP counted", "peak memory", "of a step", "one step", "threads that",
    ):  # fmt: skip
        assert words in said
    figures = json.loads(figures_at.read_text())
    assert figures["matmul_flops"] > 0
    assert figures["loss_share"] > 0
    assert 0 <= figures["waiting_share"] < 1
    budget.main(["--figures", str(figures_at)])
    assert "TFLOP/s on a GPU (measured)" in capsys.readouterr().out


def test_what_fails_costs_its_own_row_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Lab) -> Step:
        raise torch.OutOfMemoryError("CUDA out of memory [so much]")

    monkeypatch.setattr(Lab, "transcription", full)
    lab = Lab(Setup("micro", 3, 0.3, 1, "off"))
    figures = train_step.speed(Console(width=120), lab, 1)
    assert {"matmul_flops", "ours, eager: seconds"} <= figures.keys()
    assert "transcription: failed, OutOfMemoryError: CUDA out of memory [so much]" in (
        capsys.readouterr().out
    )


def test_idle_is_what_no_span_covers() -> None:
    assert train_step.idle([(0, 4), (1, 2), (3, 5), (8, 10)]) == pytest.approx(0.3)


def test_the_budget_is_the_published_work_at_a_rate() -> None:
    rows = {row.job: row for row in budget.rows(150.0, 2.0)}
    medium = rows["medium, pre-training"]
    assert medium.exaflop == pytest.approx(67, rel=0.01)
    assert medium.days[0] == pytest.approx(medium.exaflop * 1e18 / 150e12 / 86_400)
    assert medium.days[1] == pytest.approx(medium.days[0] / 8)
    assert medium.dollars == pytest.approx(medium.days[0] * 24 * 2)


@pytest.mark.parametrize("config", [TINY, MEDIUM], ids=["tiny", "medium"])
def test_operations_are_those_that_torch_counts(config: BsLocoformerConfig) -> None:
    model = build(config.model_copy(update={"dropout": 0.0}))
    x = torch.randn(1, 1, 2, 44_100)
    # The counter knows plain attention; the fused one of CPUs it does not.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        model(x)
    counted = config.operations(x.shape[-1])
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.03)

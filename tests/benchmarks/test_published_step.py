"""The benchmark of a training step runs, tiny and on the CPU: there its figures mean nothing."""

from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.benchmarks import published_step
from tests.benchmarks.budget import measured
from tests.benchmarks.lab import Lab, Setup, Step
from tests.benchmarks.profiling import idle
from tests.benchmarks.report.form import Measurement
from training.models.bs_locoformer.config import MEDIUM, TINY, BsLocoformerConfig
from training.models.separator import build

LAB = Setup("micro", 3, 0.3, 1, "off")


def test_one_command_prints_and_writes_every_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures_at = tmp_path / "figures.json"
    published_step.main([*published_step.QUICK, "--json", str(figures_at)])
    said = capsys.readouterr().out
    assert "failed" not in said
    found = Measurement.model_validate_json(figures_at.read_text())
    assert [row.role for row in found.rows] == ["ours", "plain"]
    figures = {one.what: one.median for one in found.figures}
    for what in (
        "counted operations of a step", "rate of ours, eager",
        "levels, assignment and loss, of a step",
    ):  # fmt: skip
        assert figures[what] > 0
        assert what in said
    assert 0 <= figures["waiting for 4 threads that read, of a step"] < 100
    shares = [one.median for one in found.figures if one.case.startswith("of a step")]
    assert 0 < sum(shares) <= 100.001
    work = figures["counted operations of a step"] * 1e9
    assert measured(found) == pytest.approx(work / found.rows[0].median / 1e12)


def test_what_fails_costs_its_own_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Lab) -> Step:
        raise torch.OutOfMemoryError("CUDA out of memory [so much]")

    monkeypatch.setattr(Lab, "transcription", full)
    found = published_step.Found(Lab(LAB))
    published_step.speed(found, 1)
    assert [row.variant for row in found.rows] == ["ours, eager"]
    assert found.remarks[-1] == (
        "transcription: failed, OutOfMemoryError: CUDA out of memory [so much]"
    )
    assert not found.measurement().comparisons


def test_targets_of_a_gpu_are_not_held_against_a_cpu() -> None:
    lab = Lab(LAB._replace(size="medium", outputs=12, seconds=6.0))
    lab.device = torch.device("cpu")
    found = published_step.Found(lab)
    assert found.target("speed") is None
    lab.device = torch.device("cuda")
    assert found.target("speed") == published_step.TARGETS["speed"]


def test_idle_is_what_no_span_covers() -> None:
    assert idle([(0, 4), (1, 2), (3, 5), (8, 10)]) == pytest.approx(0.3)


@pytest.mark.parametrize("config", [TINY, MEDIUM], ids=["tiny", "medium"])
def test_operations_are_those_that_torch_counts(config: BsLocoformerConfig) -> None:
    model = build(config.model_copy(update={"dropout": 0.0}))
    x = torch.randn(1, 1, 2, 44_100)
    # The counter knows plain attention; the fused one of CPUs it does not.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        model(x)
    counted = config.operations(x.shape[-1])
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.03)

"""What a published run costs: the arithmetic, and the pages that hold the table."""

import re
from datetime import UTC, datetime

import pytest

from tests.benchmarks import budget
from tests.benchmarks.made_up import MACHINE, result
from tests.benchmarks.report.form import Figure, Measurement, Row
from tests.benchmarks.report.machine import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
TABLE = re.compile(r"^\| run \| EFLOP \|.*?(?=\n(?!\|))", re.MULTILINE | re.DOTALL)
STEP = Measurement(
    amount=1,
    unit="mixture",
    rows=(
        Row(variant="ours, compiled", role="ours", seconds=(2.0, 3.0, 2.0)),
        Row(variant="ours, eager", role="other", seconds=(4.0,)),
        Row(variant="transcription", role="plain", seconds=(1.0,)),
    ),
    figures=(Figure(what="counted operations of a step", unit="GFLOP", values=(5000.0,)),),
)


def test_the_budget_is_the_published_work_at_a_rate() -> None:
    rows = {row.job: row for row in budget.rows(150.0, 2.0)}
    medium = rows["medium, pre-training"]
    assert medium.exaflop == pytest.approx(67, rel=0.01)
    assert medium.days[0] == pytest.approx(medium.exaflop * 1e18 / 150e12 / 86_400)
    assert medium.days[1] == pytest.approx(medium.days[0] / 8)
    assert medium.dollars == pytest.approx(medium.days[0] * 24 * 2)


def test_pages_hold_the_table_that_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    budget.main([])
    printed = capsys.readouterr().out
    held = {page.name: TABLE.findall(page.read_text()) for page in PAGES}
    held = {name: tables for name, tables in held.items() if tables}
    assert held, "no page holds the table of `python -m tests.benchmarks.budget`"
    assert all(table in printed for tables in held.values() for table in tables), printed


def test_the_rate_is_that_of_our_fastest_variant_on_the_newest_gpu_result() -> None:
    gpu = MACHINE.model_copy(update={"gpu": "NVIDIA H200"})
    slower = STEP.model_copy(update={"rows": STEP.rows[1:]})
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
    results = [
        result("published-step", days[1], gpu, STEP),
        result("published-step", days[0], gpu, slower),
        result("published-step", days[2], MACHINE, slower),
    ]
    assert budget.on_gpu(results) == pytest.approx(2.5)
    with pytest.raises(ValueError, match="no result of published-step on a GPU"):
        budget.on_gpu(results[2:])

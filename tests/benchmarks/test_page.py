"""BENCHMARKS.md is what the stored results say, and nothing else."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import lacking, main, measure
from tests.benchmarks.benchmark import Benchmark
from tests.benchmarks.made_up import DAY, MACHINE, TIMES, result
from tests.benchmarks.report import page
from tests.benchmarks.report.form import Comparison, Figure, Load, Measurement, Target
from tests.benchmarks.report.machine import checkout, machine
from tests.benchmarks.report.numbers import number, seconds, spread, verdict, with_unit
from tests.benchmarks.report.store import RESULTS, stored
from tests.benchmarks.table import BENCHMARKS

CLAIM = re.compile(r"\d(?:\.\d+)? (?:x|%|ms|times)\b|\b(?:twice|half) as\b|\b(?:faster|slower)\b")
"""What words would claim that belongs to results."""
MADE_UP = Benchmark(
    name="made-up", title="Making things up", words="Two ways.", omitted="why.",
    run=lambda quick: TIMES.model_copy(update={"amount": 1.0 if quick else 9.0}),
)  # fmt: skip


def test_the_page_is_what_the_results_say() -> None:
    assert page.PAGE.read_text() == page.render(BENCHMARKS.values(), stored(RESULTS)), (
        "write it with: python -m tests.benchmarks --render"
    )


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_has_a_result_on_the_page_or_says_that_it_has_none(name: str) -> None:
    (section,) = [text for text in page.PAGE.read_text().split("\n## ") if f"(`{name}`)\n" in text]
    measured = [one for one in stored(RESULTS) if one.benchmark == name]
    assert ("**Measured on" in section) == bool(measured)
    assert (page.UNMEASURED in section) == (not measured)


@pytest.mark.parametrize("one", BENCHMARKS.values(), ids=BENCHMARKS)
def test_words_claim_nothing(one: Benchmark) -> None:
    assert not CLAIM.findall(f"{one.title} {one.words} {one.omitted}")


def test_no_result_is_of_a_benchmark_that_is_gone() -> None:
    assert {one.benchmark for one in stored(RESULTS)} <= BENCHMARKS.keys()


def test_a_section_is_computed_from_every_round() -> None:
    text = page.section(MADE_UP, [result("made-up")])
    assert text == (
        "## Making things up (`made-up`)\n\nTwo ways.\n\n"
        "**Measured on 2026-01-01, CPU**, in 61 s, by `python -m tests.benchmarks made-up`, "
        "at commit 0123456789.\n"
        "2 cores of Example(R) Fast(TM) 7R13 16-Core Processor @ 2.60GHz with AVX512, "
        "25 GB of memory.\n"
        "Python 3.11.9, numpy 2.4.6; torch with 2 threads.\n"
        "Other processes kept 0.04 of the cores busy meanwhile; load average 0.50 before and "
        "1.50 after.\n\n"
        "Each works through 4 songs.\n\n"
        "| variant | role | median | fastest to slowest | rounds | time against ours |\n"
        "|---|---|---|---|---|---|\n"
        "| ours | ours | 3 s | 1 s to 4 s | 3 | 1 |\n"
        "| theirs | library | 4 s | 2 s to 9 s | 3 | 2 |\n\n"
        "Not shown: why.\n"
    )


def test_comparisons_figures_and_cases_have_tables_with_targets() -> None:
    measured = Measurement(
        amount=4, unit="songs", clock="processor", rows=TIMES.rows,
        comparisons=(
            Comparison(what="theirs / ours", over="theirs", under="ours",
                       target=Target(at_least=2.5)),
        ),
        figures=(
            Figure(what="peak", unit="MB", values=(90.0, 120.0, 100.0), target=Target(at_most=600)),
            Figure(what="start", unit="s", values=(0.0123,), case="SQLite"),
            Figure(what="start", unit="s", values=(2.0, 4.0), case="PostgreSQL"),
            Figure(what="size", unit="kB", values=(7.0,), case="PostgreSQL"),
        ),
        remarks=("nothing was left out",),
    )  # fmt: skip
    text = page.section(MADE_UP, [result("made-up", measured=measured)])
    assert "| median, processor time |" in text
    for table in (
        "| theirs / ours | 2 x | at least 2.5 x: **not met** |",
        "| peak | 100 MB | 90 MB to 120 MB | at most 600 MB: met |",
        "| figure | SQLite | PostgreSQL |\n|---|---|---|\n"
        "| start | 12.3 ms | 3 s (2 s to 4 s) |\n| size |  | 7 kB |\n\n- nothing was left out",
    ):
        assert table in text


def test_what_has_no_result_says_so_and_each_kind_of_machine_has_its_newest() -> None:
    gpu = MACHINE.model_copy(update={"gpu": "NVIDIA H200"})
    others = [
        result("made-up"),
        result("made-up", DAY + timedelta(days=2)),
        result("made-up", DAY + timedelta(days=1), gpu),
        result("another"),
    ]
    assert page.UNMEASURED in page.render([MADE_UP], others[3:])
    text = page.render([MADE_UP], others)
    assert page.UNMEASURED not in text
    assert re.findall(r"Measured on (\S+), (\w+)", text) == [
        ("2026-01-03", "CPU"), ("2026-01-02", "GPU"),
    ]  # fmt: skip
    assert "NVIDIA H200; 2 cores of" in text


def test_other_work_changed_files_and_no_checkout_are_named() -> None:
    one = result("made-up")
    busy = Load(before=0.0, after=0.0, elsewhere=0.21)
    assert "not idle" not in page.heading(one)
    assert "not idle" in page.heading(one.model_copy(update={"load": busy}))
    assert "not committed" in page.heading(one.model_copy(update={"dirty": True}))
    outside = page.heading(one.model_copy(update={"commit": "", "dirty": True}))
    assert "outside a checkout" in outside
    assert "not committed" not in outside


def test_numbers_as_people_read_them() -> None:
    assert [number(value) for value in (0.0123456, 1.2345, 99.96, 123.4, 106574.0)] == [
        "0.0123", "1.23", "100", "123", "106,574",
    ]  # fmt: skip
    assert [seconds(value) for value in (344.2, 1.0, 0.9996, 0.0092, 3e-5, 2e-7)] == [
        "344 s", "1 s", "1 s", "9.2 ms", "30 µs", "0.2 µs",
    ]  # fmt: skip
    assert with_unit(4.0, "of 4") == "4 of 4"
    assert with_unit(150.0, "") == "150"
    assert spread((3.0,), "MB") == ""
    assert verdict(2.1, "%", Target(at_most=2)) == "at most 2 %: **not met**"
    assert verdict(2.1, "%", None) == ""


def test_a_benchmark_is_measured_with_all_that_its_figures_depend_on() -> None:
    found = measure(MADE_UP, "made-up", quick=False)
    assert (found.benchmark, found.command) == ("made-up", "python -m tests.benchmarks made-up")
    assert (found.commit, found.dirty) == checkout()
    assert found.machine == machine()
    assert found.measured.amount == 9.0
    assert measure(MADE_UP, "", quick=True).measured.amount == 1.0


def test_only_clean_results_of_this_commit_and_hardware_count_as_done() -> None:
    here = result("a").model_copy(update={"machine": machine(), "commit": "c"})
    results = [
        here,
        here.model_copy(update={"benchmark": "b", "dirty": True}),
        here.model_copy(update={"benchmark": "d", "commit": "e"}),
        here.model_copy(update={"benchmark": "f", "machine": MACHINE}),
    ]
    assert lacking(list("abdf"), results, ("c", False)) == ["b", "d", "f"]
    assert lacking(list("abdf"), results, ("c", True)) == list("abdf")


def test_the_command_measures_stores_and_writes_the_page(tmp_path: Path) -> None:
    places = ["--results", str(tmp_path), "--page", str(tmp_path / "page.md")]
    main(["--quick", "assignment", *places])
    assert not list(tmp_path.iterdir())
    main(["--render", *places])
    assert page.UNMEASURED in (tmp_path / "page.md").read_text()
    with pytest.raises(SystemExit, match="No benchmark nonsense; there are packing, "):
        main(["nonsense"])

"""The stored form: whole, typed, of one version, and never of something that was not measured."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.benchmarks.made_up import DAY, MACHINE, TIMES, result
from tests.benchmarks.report.form import Comparison, Figure, Measurement, ResultsFile, Row, Target
from tests.benchmarks.report.machine import ROOT, Watch, checkout, machine, slug
from tests.benchmarks.report.store import RESULTS, keep, newest, read, stored


def test_a_result_comes_back_as_it_was(tmp_path: Path) -> None:
    path = keep(result("packing"), tmp_path)
    assert path.name == "2026-01-01-example-fast-7r13-2-cores-25gb.json"
    assert read(path).results == {"packing": result("packing")}
    held = json.loads(path.read_text())
    assert held["form"] == 1
    assert held["results"]["packing"]["measured"]["rows"][1]["seconds"] == [2.0, 4.0, 9.0]


def test_a_days_results_on_one_machine_are_one_file(tmp_path: Path) -> None:
    again = result("packing", DAY + timedelta(hours=1))
    for one in (result("packing"), result("reading"), again):
        keep(one, tmp_path)
    (path,) = tmp_path.glob("*.json")
    assert read(path).results == {"packing": again, "reading": result("reading")}


def test_other_days_and_machines_have_files_of_their_own(tmp_path: Path) -> None:
    other = MACHINE.model_copy(update={"gpu": "NVIDIA H200"})
    paths = {
        keep(one, tmp_path).name
        for one in (
            result("packing"),
            result("packing", DAY + timedelta(days=1)),
            result("packing", machine=other),
        )
    }
    assert paths == {
        "2026-01-01-example-fast-7r13-2-cores-25gb.json",
        "2026-01-02-example-fast-7r13-2-cores-25gb.json",
        "2026-01-01-example-fast-7r13-2-cores-25gb-nvidia-h200.json",
    }
    assert len(stored(tmp_path)) == 3


def test_the_newest_of_each_kind_of_machine_is_chosen_by_its_time_not_its_place() -> None:
    gpu = MACHINE.model_copy(update={"gpu": "NVIDIA H200"})
    old, new = result("packing"), result("packing", DAY + timedelta(minutes=1))
    on_gpu = result("packing", DAY - timedelta(days=9), gpu)
    for order in ([old, new, on_gpu], [new, on_gpu, old]):
        assert newest(order) == {("packing", "CPU"): new, ("packing", "GPU"): on_gpu}


def broken(**changes: Any) -> str:
    held = json.loads(ResultsFile(results={"packing": result("packing")}).model_dump_json())
    return json.dumps({**held, **changes})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (broken(form=2), "form"),
        (broken(speed="great"), "speed"),
        (broken(results={"reading": json.loads(result("packing").model_dump_json())}), "holds the"),
        ("{", "JSON"),
    ],
)
def test_what_is_not_of_the_form_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "2026-01-01-odd.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=said) as raised:
        read(path)
    assert str(path) in str(raised.value)
    assert "measure again" in str(raised.value)


def test_nothing_is_held_that_was_not_measured() -> None:
    compared = Comparison(what="a / b", over="ours", under="nothing")
    with pytest.raises(ValidationError, match="nothing, which no row has"):
        Measurement(amount=1, unit="song", rows=TIMES.rows, comparisons=(compared,))
    with pytest.raises(ValidationError, match="at least 1 item"):
        Row(variant="ours", role="ours", seconds=())
    with pytest.raises(ValidationError, match="at least 1 item"):
        Figure(what="peak", unit="MB", values=())
    for bounds in ({}, {"at_most": 1.0, "at_least": 1.0}):
        with pytest.raises(ValidationError, match="either at most or at least"):
            Target(**bounds)


def test_this_machine_is_named_by_its_hardware_alone() -> None:
    here = machine()
    assert here.cores >= 1
    assert here.libraries["torch"].startswith("2.")
    assert set(slug(here)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert f"{here.cores}-cores-{here.memory_gb}gb" in slug(here)


def test_load_leaves_out_what_is_ours() -> None:
    watch = Watch()
    until = datetime.now(UTC) + timedelta(seconds=0.3)
    while datetime.now(UTC) < until:
        pass
    ours = watch.load()
    assert ours.elsewhere < machine().cores + 1
    assert watch.load(detached_seconds=1e6).elsewhere == 0.0


def test_the_commit_is_clean_until_a_file_changes_that_is_no_result(tmp_path: Path) -> None:
    assert checkout(tmp_path) == ("", True)
    tree = tmp_path / "tree"
    results = tree / RESULTS.relative_to(ROOT)
    results.mkdir(parents=True)
    (tree / "BENCHMARKS.md").write_text("nothing yet")
    (tree / "code.py").write_text("")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        author = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *author, *words], cwd=tree, check=True)
    commit, dirty = checkout(tree)
    assert len(commit) == 40
    assert not dirty
    keep(result("packing"), results)
    (tree / "BENCHMARKS.md").write_text("measured")
    assert checkout(tree) == (commit, False)
    (tree / "new.py").write_text("")
    assert checkout(tree) == (commit, True)


def test_stored_results_are_of_the_form() -> None:
    for path in RESULTS.glob("*.json"):
        for name, one in read(path).results.items():
            assert name == one.benchmark
            assert path.name == f"{one.began.date().isoformat()}-{slug(one.machine)}.json"

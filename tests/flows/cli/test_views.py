"""What the command line shows: stable JSON for machines, tables for people."""

import io
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flows.cli import recover, views
from flows.cli.output import View
from flows.studies.estimates import Progress
from flows.studies.mixit.config import MixitStudyConfig
from flows.studies.mixit.graph import build_graph
from flows.studies.runner import DryRun, StageStatus
from storage.errors import ConfigError, DataError
from storage.home.layout import Home
from storage.home.marks import all_marks
from tests import synthesised

pytestmark = pytest.mark.slow
COST = {"size", "core_hours", "gpu_hours", "written", "wall_hours"}
Shown = Callable[[View], None]


def text_of(shown: Shown, as_json: bool = False) -> str:
    console = Console(file=io.StringIO(), width=200, _environ={})
    try:
        shown(View(console, as_json))
    finally:
        assert isinstance(console.file, io.StringIO)
        text = console.file.getvalue()
    return text


def json_of(shown: Shown) -> Any:
    return json.loads(text_of(shown, as_json=True))


def look(home: Home) -> tuple[MixitStudyConfig, list[StageStatus]]:
    config = MixitStudyConfig.parse(json.loads(home.study("smoke").read_text())["config"])
    dry_run = DryRun(home)
    build_graph(dry_run, config, home)
    return config, dry_run.statuses


@pytest.fixture
def home(finished: Path) -> Home:
    return Home(finished)


@pytest.fixture
def damaged(copied: Path) -> Home:
    return Home(copied)


def test_plan(home: Home) -> None:
    config, statuses = look(home)
    plan = json_of(lambda view: views.show_plan(config, home, statuses, view))
    assert plan.keys() == {"study", "digest", "stages", "remaining", "disks"}
    assert plan["digest"] == config.digest()
    assert plan["remaining"] == dict.fromkeys(COST, 0)
    for stage in plan["stages"]:
        units = {field.name for field in fields(Progress)} if stage["stage"] == "pack" else set()
        assert stage.keys() == {"stage", "state", "why"} | COST | units
        assert stage["state"] == "done"
    table = text_of(lambda view: views.show_plan(config, home, statuses, view))
    assert "Plan of 'smoke'" in table
    assert "in all" in table


def test_plan_of_what_is_left(damaged: Home) -> None:
    """One of five units is gone: a fifth of the archive is to be read again."""
    mark = next(mark for mark in all_marks(damaged) if mark.stage == "pack")
    damaged.mark(mark.stage, mark.key).unlink()
    config, statuses = look(damaged)
    plan = json_of(lambda view: views.show_plan(config, damaged, statuses, view))
    archive = Path(config.data.root) / config.fma.archive
    pack = next(stage for stage in plan["stages"] if stage["stage"] == "pack")
    assert (pack["state"], pack["units_done"], pack["units"]) == ("missing", 4, 5)
    assert pack["size"] == pack["bytes"] - pack["bytes_done"]
    assert 0 < pack["size"] < pack["bytes"] <= archive.stat().st_size
    assert pack["written"] > pack["size"]
    assert "pack: 4 of 5 units" in text_of(
        lambda view: views.show_plan(config, damaged, statuses, view)
    )
    for name in COST:
        assert plan["remaining"][name] == pytest.approx(sum(s[name] for s in plan["stages"]))
    waiting = {stage["stage"] for stage in plan["stages"] if stage["state"] == "waiting"}
    assert {"census", "pretrain", "select channels", "finetune", "report"} <= waiting
    assert "train from scratch" not in waiting


def test_status(home: Home) -> None:
    status = json_of(lambda view: views.show_status(home, view))
    assert status.keys() == {"smoke"}
    assert {stage["state"] for stage in status["smoke"]} == {"done"}
    table = text_of(lambda view: views.show_status(home, view))
    assert "pretrain" in table
    assert "5 of 5 units" in table


def test_status_without_its_archives(damaged: Home) -> None:
    """What is known is said; an archive that is gone is a line, not an error."""
    path = damaged.study("smoke")
    held = json.loads(path.read_text())
    held["config"]["data"]["root"] = str(damaged.root / "nowhere")
    path.write_text(json.dumps(held))
    status = json_of(lambda view: views.show_status(damaged, view))
    checks = [stage for stage in status["smoke"] if stage["stage"].startswith("check ")]
    assert len(checks) == 3
    assert {stage["state"] for stage in checks} == {"missing"}
    assert all(f"{damaged.root}/nowhere/" in stage["why"] for stage in checks)
    assert all("is missing" in stage["why"] for stage in checks)


def test_scores(home: Home) -> None:
    run = next(home.runs.glob("evaluate-*"))
    rows = json_of(lambda view: views.show_scores(run, view))
    assert {row["stem"] for row in rows} == {"bass", "drums", "vocals", "other"}
    assert {"song", "usdr", "csdr", "usdr_mdx21", "usdr_trivial"} <= rows[0].keys()
    table = text_of(lambda view: views.show_scores(run, view))
    assert run.name in table
    assert "mixture / 4" in table
    with pytest.raises(ConfigError, match="holds no scores"):
        views.show_scores(home.runs, View(Console(), as_json=True))


def test_verify_a_sound_home(home: Home) -> None:
    for deep in (False, True):
        found = json_of(lambda view, deep=deep: views.verify(home, deep, view))  # type: ignore[misc]
        assert found.keys() == {"marks", "bytes", "faults"}
        assert found["marks"] == len(list(home.marks.glob("*/*.json")))
        assert found["faults"] == []


def test_verify_finds_every_fault(damaged: Home) -> None:
    marks = {mark.stage: mark for mark in all_marks(damaged)}
    report, census = marks["report"], marks["census"]
    damaged.path(report.outputs[0].path).unlink()
    page = census.path(damaged, "census.json")
    page.write_bytes(page.read_bytes()[:-1] + b" ")
    console = Console(file=io.StringIO())
    with pytest.raises(DataError, match=r"report.html is missing.*run the study again"):
        views.verify(damaged, False, View(console, as_json=True))
    assert isinstance(console.file, io.StringIO)
    faults = json.loads(console.file.getvalue())["faults"]
    assert {(fault["stage"], fault["key"]) for fault in faults} == {
        ("report", report.key),
        ("census", census.key),
    }


@pytest.mark.parametrize("reason", synthesised.FMA_QUARANTINED)
def test_retry_forgets_the_units_of_a_reason_alone(damaged: Home, reason: str) -> None:
    before = {mark.key: mark for mark in all_marks(damaged)}
    held = {
        key
        for key, mark in before.items()
        if mark.stage == "pack" and reason in mark.facts["quarantined"]
    }
    said = json_of(lambda view: recover.retry_quarantined(damaged, reason, view))
    assert said == {"reason": reason, "units": len(held)}
    assert held
    assert before.keys() - {mark.key for mark in all_marks(damaged)} == held
    with pytest.raises(ConfigError, match="reasons here are") as caught:
        recover.retry_quarantined(damaged, reason, View(Console(), as_json=False))
    assert f"'{reason}'" in str(caught.value)


def test_an_outcome_is_shown_whole() -> None:
    outcome: dict[str, Any] = {"stages": 3, "ui": "http://here/v2"}
    assert json_of(lambda view: views.show_outcome(outcome, view)) == outcome
    assert "http://here/v2" in text_of(lambda view: views.show_outcome(outcome, view))
    scores = {"headers": ["stem", "x"], "rows": [["bass", "1.23"]]}
    outcome |= {"scores": scores, "gain": "gains 2 dB", "report": "/home/report.html"}
    text = text_of(lambda view: views.show_outcome(outcome, view))
    assert all(word in text for word in ("1.23", "gains 2 dB", "/home/report.html"))

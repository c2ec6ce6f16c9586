"""Lineage: whatever lies in a home leads back to the archives, and says so."""

import io
import json
import re
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from flows.__main__ import perform
from flows.cli import lineage
from flows.cli.lineage import home_around, recognise, settings_of, value_of
from flows.cli.output import View
from flows.stages.lineage import LineageGraph
from flows.studies.mixit.recipes import RECIPES
from storage.config import Json
from storage.errors import ConfigError
from storage.home.layout import Home

pytestmark = pytest.mark.slow
ARCHIVES = {"check-archive", "synthesise"}


@pytest.fixture(scope="session")
def ancestry(finished: Path) -> LineageGraph:
    return LineageGraph(Home(finished))


def said(home: Home, what: str, as_json: bool = False) -> str:
    console = Console(file=io.StringIO(), width=200, _environ={})
    lineage.show(home, what, View(console, as_json))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_output_of_a_home_is_known_by_its_path(ancestry: LineageGraph) -> None:
    home, count = ancestry.home, 0
    for mark in ancestry.marks:
        for output in mark.outputs:
            found = recognise(ancestry, str(home.path(output.path)))
            assert found.mark.key == mark.key
            count += 1
    assert count > 40


def test_every_lineage_ends_at_archives_alone(ancestry: LineageGraph) -> None:
    for mark in ancestry.marks:
        value = value_of(ancestry, recognise(ancestry, mark.key))
        steps: Json = value["steps"]
        assert value["made_by"] in steps
        for step in steps.values():
            assert None not in step["made_of"].values(), step
            assert set(step["made_of"].values()) <= steps.keys()
        ends = {step["stage"] for step in steps.values() if not step["made_of"]}
        assert all(stage.startswith(("check", "synthesise")) for stage in ends), ends


def test_a_report_rests_on_every_stage_of_its_study(ancestry: LineageGraph) -> None:
    report = next(mark for mark in ancestry.marks if mark.stage == "report")
    stages = {mark.stage for mark in ancestry.causes_first([report])}
    assert {"pack", "census", "plan-fma", "unpack-musdb", "train", "evaluate"} <= stages
    made = ancestry.causes_first([report])
    place = {mark.key: number for number, mark in enumerate(made)}
    for mark in made:
        for parent in ancestry.parents(mark).values():
            assert parent is not None
            assert place[parent.key] < place[mark.key]


def test_a_copy_elsewhere_is_known_by_its_content(ancestry: LineageGraph, tmp_path: Path) -> None:
    weights = next(ancestry.home.root.glob("runs/train-*/result/model/model.safetensors"))
    copy = tmp_path / "elsewhere.safetensors"
    shutil.copyfile(weights, copy)
    found = recognise(ancestry, str(copy))
    assert found.how == "its content"
    assert found.mark.key == recognise(ancestry, str(weights)).mark.key
    copy.write_bytes(copy.read_bytes()[:-1] + b"\0\0")
    with pytest.raises(ConfigError, match=r"no finished work in .* made"):
        recognise(ancestry, str(copy))


def test_a_log_and_a_run_directory_are_their_jobs(ancestry: LineageGraph) -> None:
    log = next(ancestry.home.root.glob("runs/evaluate-*/log.txt"))
    for path in (log, log.parent):
        assert recognise(ancestry, str(path)).mark.key == log.parent.name.partition("-")[2]


def test_what_is_ambiguous_is_refused_with_the_keys(ancestry: LineageGraph) -> None:
    keys = [mark.key for mark in ancestry.marks if mark.stage == "train"]
    with pytest.raises(ConfigError, match="give the key of one") as caught:
        recognise(ancestry, "train")
    assert all(key in str(caught.value) for key in keys)
    assert recognise(ancestry, "census").mark.stage == "census"
    with pytest.raises(ConfigError, match=r"one of its stages: .*census"):
        recognise(ancestry, "nothing-like-it")


def test_what_a_study_calls_a_stage_is_known(ancestry: LineageGraph) -> None:
    pretrained = recognise(ancestry, "pretrain")
    assert pretrained.how == "its label"
    assert set(pretrained.mark.inputs) == {"index"}
    assert ancestry.parents(recognise(ancestry, "finetune").mark)["model"] == pretrained.mark
    scratch = recognise(ancestry, "train from scratch").mark
    judged = recognise(ancestry, "evaluate train from scratch").mark
    assert ancestry.parents(judged)["model"] == scratch
    with pytest.raises(ConfigError, match="a label such as 'finetune'"):
        recognise(ancestry, "pretrain large")


def test_a_home_is_found_around_a_path(finished: Path, tmp_path: Path) -> None:
    shard = next(finished.glob("fma/*/shards/*.tar"))
    found = home_around(shard)
    assert found is not None
    assert found.root == finished
    assert home_around(tmp_path) is None
    assert home_around(finished / "nowhere") is None


def test_a_shard_names_its_unit_the_plan_and_the_rules(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever the command runs: its home is found around it."""
    shard = next(finished.glob("fma/*/shards/0000-00.tar"))
    assert perform(["lineage", str(shard), "--home", str(tmp_path / "none")]) == 0
    assert "plan: plan-fma" in capsys.readouterr().out
    text = said(Home(finished), str(shard))
    assert re.search(r"made by: pack [0-9a-f]{16}", text)
    assert "plan: plan-fma" in text
    assert "clips.seconds=10" in text
    value = json.loads(said(Home(finished), str(shard), as_json=True))
    assert value["steps"][value["made_by"]]["config"]["clips"]["seconds"] == 10


def test_lost_units_are_said_to_be_lost(copied: Path) -> None:
    home = Home(copied)
    census = next(mark for mark in LineageGraph(home).marks if mark.stage == "census")
    next(copied.glob("marks/pack/*.json")).unlink()
    assert LineageGraph(home).parents(census)["pack"] is None
    assert "not in this home any more" in said(home, census.key)


def test_settings_are_as_the_command_line_takes_them() -> None:
    study = RECIPES["smoke"]().finetuning
    again = RECIPES["demo"]().finetuning.override(settings_of(study.model_dump(mode="json")))
    assert again == study

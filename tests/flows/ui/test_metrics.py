"""Prometheus' numbers of a home, read back by Prometheus' own parser."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flows.ui import metrics
from flows.ui.metrics import Numbers
from flows.ui.progress import StageProgress
from flows.ui.run_card import JOBS
from storage.environment import METRICS
from storage.home.layout import Home
from storage.home.marks import all_marks
from tests import synthesised

Samples = dict[tuple[str, ...], float]

RELEASED = """\
# HELP stemworks_work_done Finished work; of pack: units.
# TYPE stemworks_work_done gauge
stemworks_work_done{stage="pack"} 2.0
stemworks_work_done{stage="train"} 1.0
# HELP stemworks_work_failed Work whose last attempt failed.
# TYPE stemworks_work_failed gauge
stemworks_work_failed{stage="evaluate"} 1.0
# HELP stemworks_work_seconds Seconds that finished work took.
# TYPE stemworks_work_seconds gauge
stemworks_work_seconds{stage="pack"} 19.75
stemworks_work_seconds{stage="train"} 100.5
# HELP stemworks_gpu_seconds Seconds of finished GPU jobs times their processes, \
all attempts counted.
# TYPE stemworks_gpu_seconds gauge
stemworks_gpu_seconds{stage="train"} 402.0
# HELP stemworks_tracks Tracks of packed units, by what became of them and why.
# TYPE stemworks_tracks gauge
stemworks_tracks{outcome="filtered",reason="too_short"} 1.0
stemworks_tracks{outcome="kept",reason=""} 5.0
stemworks_tracks{outcome="quarantined",reason="not \\"audio\\""} 2.0
# HELP stemworks_clips Clips packed.
# TYPE stemworks_clips gauge
stemworks_clips 41.0
# HELP stemworks_music_hours Hours of music kept.
# TYPE stemworks_music_hours gauge
stemworks_music_hours 0.625
# HELP stemworks_packed_bytes Bytes of archives packed.
# TYPE stemworks_packed_bytes gauge
stemworks_packed_bytes 123456789013.0
# HELP stemworks_training_step Steps done.
# TYPE stemworks_training_step gauge
stemworks_training_step{run="train-1"} 5.0
# HELP stemworks_training_steps Steps to do.
# TYPE stemworks_training_steps gauge
stemworks_training_steps{run="train-1"} 10.0
# HELP stemworks_training_loss_db Loss of the last logged steps.
# TYPE stemworks_training_loss_db gauge
stemworks_training_loss_db{run="train-1"} -3.5
# HELP stemworks_training_examples_per_second Examples trained on per second.
# TYPE stemworks_training_examples_per_second gauge
stemworks_training_examples_per_second{run="train-1"} 2.5
# HELP stemworks_training_data_wait_ratio Share of the time spent waiting for data.
# TYPE stemworks_training_data_wait_ratio gauge
stemworks_training_data_wait_ratio{run="train-1"} 0.01
# HELP stemworks_training_gradient_norm Before clipping; -1 for a step that was skipped.
# TYPE stemworks_training_gradient_norm gauge
stemworks_training_gradient_norm{run="train-1"} 1e-07
# HELP stemworks_training_skipped_steps Steps without an update.
# TYPE stemworks_training_skipped_steps gauge
stemworks_training_skipped_steps{run="train-1"} 0.0
# HELP stemworks_training_gpu_memory_gigabytes The most that tensors held.
# TYPE stemworks_training_gpu_memory_gigabytes gauge
# HELP stemworks_stage_state 1 for the state that a stage is in.
# TYPE stemworks_stage_state gauge
stemworks_stage_state{study="demo",stage="odd \\"name\\"\\\\",state="running"} 1.0
stemworks_stage_state{study="demo",stage="census",state="done"} 1.0
"""
"""What the first release printed of the home that `small_home` makes."""


def read(text: str) -> dict[str, Samples]:
    """Return each metric's samples by their labels' values, in the order of the labels' names."""
    return {
        family.name: {
            tuple(one.labels[name] for name in sorted(one.labels)): one.value
            for one in family.samples
        }
        for family in text_string_to_metric_families(text)
    }


MADE: tuple[tuple[str, float, dict[str, Any]], ...] = (
    (
        "pack",
        12.5,
        {
            "kept": 3,
            "filtered": {"too_short": 1},
            "quarantined": {'not "audio"': 2},
            "clips": 30,
            "hours": 0.125,
            "bytes_in": 123456789012,
        },
    ),
    ("pack", 7.25, {"kept": 2, "clips": 11, "hours": 0.5, "bytes_in": 1}),
    ("train", 100.5, {"processes": 4}),
)
"""Stages, seconds and facts of marks."""


def small_home(root: Path) -> Home:
    """Write marks, a failure and a job's log by hand, as the first release left them."""
    for number, (stage, seconds, facts) in enumerate(MADE):
        mark = {
            "stage": stage,
            "version": 1,
            "key": "k",
            "config": {},
            "inputs": {},
            "outputs": [],
            "digest": "",
            "facts": facts,
            "seconds": seconds,
            "built_by": {},
            "finished": "2026-01-01T00:00:00Z",
        }
        path = root / "marks" / stage / f"{number}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(mark))
    (root / "marks/evaluate").mkdir()
    (root / "marks/evaluate/1.failed").write_text("{}")
    row = {
        "kind": "train",
        "step": 5,
        "steps": 10,
        "loss": -3.5,
        "examples_per_second": 2.5,
        "data_wait": 0.01,
        "grad_norm": 1e-7,
        "skipped": 0,
    }
    (root / "runs/train-1").mkdir(parents=True)
    (root / "runs/train-1/metrics.jsonl").write_text(
        json.dumps(row) + "\n" + '{"kind": "validation", "step": 5, "loss": 1}\n'
    )
    return Home(root)


def test_existing_dashboards_find_what_they_found(tmp_path: Path) -> None:
    """Names, types, help, labels and values are the first release's; their order is free."""

    def families(text: str) -> list[tuple[str, str, str, list[tuple[str, dict[str, str], float]]]]:
        return [
            (
                family.name,
                family.type,
                family.documentation,
                sorted(
                    ((one.name, one.labels, one.value) for one in family.samples),
                    key=lambda one: sorted(one[1].items()),
                ),
            )
            for family in text_string_to_metric_families(text)
        ]

    states = {("demo", 'odd "name"\\'): "running", ("demo", "census"): "done"}
    text = Numbers(small_home(tmp_path)).exposition(states)
    assert families(text) == families(RELEASED)


@pytest.mark.slow
def test_a_finished_study(finished: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "flows", "metrics", "--home", str(finished)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = read(answer.stdout)
    assert found["stemworks_work_done"]["pack",] == 5
    assert found["stemworks_work_failed"] == {}
    kept = {("kept", ""): len(synthesised.FMA_CLIPS)}
    dropped = {
        (outcome, reason): count
        for outcome, reasons in (
            ("filtered", synthesised.FMA_FILTERED),
            ("quarantined", synthesised.FMA_QUARANTINED),
        )
        for reason, count in reasons.items()
    }
    assert found["stemworks_tracks"] == kept | dropped
    assert found["stemworks_clips"] == {(): sum(synthesised.FMA_CLIPS.values())}
    jobs = [mark for mark in all_marks(Home(finished)) if mark.stage in JOBS]
    spent = sum(found["stemworks_gpu_seconds"].values())
    assert spent == pytest.approx(sum(mark.seconds for mark in jobs))
    assert len(found["stemworks_training_loss_db"]) == 3
    assert found["stemworks_training_step"] == found["stemworks_training_steps"]
    states = set(found["stemworks_stage_state"])
    assert ("report", "done", "smoke") in states
    assert {state for _, state, _ in states} == {"done"}


@pytest.mark.slow
def test_a_run_keeps_a_file(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, file = Home(finished), tmp_path / "works.prom"
    stages = {'odd "name"\\': StageProgress(), "census": StageProgress(state="failed")}
    metrics.keep(home, "smoke", stages)
    assert not list(tmp_path.iterdir()), "nobody asked for it"
    monkeypatch.setenv(METRICS.name, str(file))
    metrics.keep(home, "smoke", stages)
    states = set(read(file.read_text())["stemworks_stage_state"])
    assert states == {('odd "name"\\', "running", "smoke"), ("census", "failed", "smoke")}
    assert list(tmp_path.iterdir()) == [file], "nothing half written is left"
    assert file.stat().st_mode & 0o777 == 0o644


@pytest.mark.slow
def test_what_changes_is_read_again(copied: Path) -> None:
    home = Home(copied)
    numbers = Numbers(home)
    before = read(numbers.exposition({}))
    next(copied.glob("marks/pack/*.json")).unlink()
    (copied / "marks/pack/lost.failed").write_text('{"error": "gone"}')
    after = read(numbers.exposition({}))
    assert after["stemworks_work_done"]["pack",] == before["stemworks_work_done"]["pack",] - 1
    assert after["stemworks_work_failed"] == {("pack",): 1}

"""What people on call see of a run, are asked and are told: card, gates, approval, webhook."""

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import LIMIT_SECONDS, Works
from tests.flows.recovery.test_cancel import Training
from tests.webhook import SECRET, webhook

pytestmark = pytest.mark.slow


def artifacts(works: Works, run: str) -> dict[str, list[dict[str, Any]]]:
    """Return a flow run's artifacts by their keys, those of its tasks among them."""
    found: dict[str, list[dict[str, Any]]] = {}
    asked = {"flow_runs": {"id": {"any_": [run]}}, "limit": 200}
    for one in works.api("artifacts/filter", asked):
        found.setdefault(one["key"], []).append(one)
    return found


def wait_for_events(works: Works, run: str, name: str, *stages: str) -> None:
    """Wait until a run's events of a name are about these stages: they come some seconds late."""
    asked = {
        "filter": {
            "event": {"name": [name]},
            "related": {"id": [f"prefect.flow-run.{run}"]},
            "occurred": {"since": "2020-01-01T00:00:00Z"},
        },
        "limit": 50,
    }

    def told() -> set[str]:
        found = works.api("events/filter", asked)["events"]
        return {one["resource"]["prefect.resource.name"] for one in found}

    wait_for(lambda: set(stages) <= told())


def wait_for(ready: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not (found := ready()):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return found


def wait_for_changes(path: Path, count: int) -> None:
    for _ in range(count):
        last = path.stat().st_mtime_ns
        wait_for(partial(changed, path, last))


def changed(path: Path, since: int) -> bool:
    return path.stat().st_mtime_ns != since


def untrained(home: Path, *labels: str) -> Path:
    """Let the work of some jobs be yet to do; their directories stay."""
    for folder in (home / "marks").glob("train"):
        for mark in folder.iterdir():
            if any(f'"{label}"' in mark.read_text() for label in labels):
                mark.unlink()
    return home


def test_a_finished_run_shows_each_page_once(works: Works, finished: Path) -> None:
    run = finished.with_name("run.txt").read_text()
    found = artifacts(works, run)
    assert {"run-card", "census", "scores", "published-scores", "report"} <= set(found)
    assert {"live-pretrain", "live-finetune", "live-train-from-scratch"} <= set(found)
    assert {key for key, pages in found.items() if len(pages) > 1} == set(), "changed in place"
    card = found["run-card"][0]["data"]
    assert card.startswith("## study smoke: done")
    assert card.count("data:image/svg+xml") == 12, "three losses, the hours, eight measures"
    assert "| packing | done |" in card
    assert str(finished / "reports/smoke/report.html") in card
    assert f"tensorboard --logdir {finished}/runs" in card
    assert "GPU-hours, all attempts counted" in card
    live = found["live-pretrain"][0]
    assert "effective sources" in live["data"]
    assert live["task_run_id"]
    wait_for_events(works, run, "stemworks.stage.done", "pretrain", "report")
    wait_for_events(works, run, "stemworks.quarantine.counted", "census")


def test_data_too_poor_blocks_and_somebody_is_told(works: Works, copied: Path) -> None:
    order = works.order("pretrain", untrained(copied, "index"), "gates.minimum_hours=1000")
    with webhook(refusals=1) as receiver:
        answer = works(*order, environment={"STEMWORKS_WEBHOOK": receiver.url})
    assert answer.returncode == 3, answer.stdout + answer.stderr
    assert "gates.minimum_hours is 1000" in answer.stderr
    run = works.last_run(copied)
    assert run["state"]["name"] == "Failed"
    (told,) = receiver.bodies
    assert (told["happened"], told["run"], told["run_id"]) == ("failed", run["name"], run["id"])
    assert "gates.minimum_hours is 1000" in told["message"]
    assert run["id"] in told["ui"]
    card = artifacts(works, run["id"])["run-card"][0]["data"]
    assert card.startswith("## pretrain smoke: failed")
    assert "- **quality gate**: the data is not good enough" in card
    assert "| pretrain | waiting |" in card
    wait_for_events(works, run["id"], "stemworks.stage.failed", "quality gate")
    shown = json.dumps([card, works.api("logs/filter", {"limit": 200}), run])
    assert SECRET not in shown + answer.stdout + answer.stderr
    plan = works("plan", *order[1:], "--json")
    states = {stage["stage"]: stage["state"] for stage in json.loads(plan.stdout)["stages"]}
    assert (states["quality gate"], states["pretrain"]) == ("failed", "waiting")


def test_a_job_that_stands_still_is_told_of_once_and_goes_on(works: Works, copied: Path) -> None:
    """Stopped as by a debugger, or by a file system that hangs: it neither works nor ends."""
    shutil.rmtree(copied / "runs")
    training, looks = Training(copied), copied / "looks.prom"
    loop = [f"pretraining.loop.{knob}" for knob in ("steps=60", "checkpoint_every=9")]
    settings = ("name=stalls", "limits.stall_minutes=0.1", "pretraining.loop.validate_every=60")
    order = works.order("pretrain", copied, *settings, *loop)
    with webhook() as receiver:
        given = {"STEMWORKS_WEBHOOK": receiver.url, "STEMWORKS_METRICS": str(looks)}
        process = works.start(*order, **given)
        wait_for(training.checkpoints)
        [worker] = training.workers()
        os.kill(worker, signal.SIGSTOP)
        try:
            before = len(receiver.bodies)
            wait_for(lambda: len(receiver.bodies) > before)
            # Each look at the stages ends with this file: the one that told, and one more.
            wait_for_changes(looks, 2)
            [told] = receiver.bodies[before:]
        finally:
            os.kill(worker, signal.SIGCONT)
        said = process.communicate(timeout=LIMIT_SECONDS)[0]
    assert process.returncode == 0, said
    run = works.last_run(copied)
    assert (told["happened"], told["run"], told["run_id"]) == ("stalled", run["name"], run["id"])
    assert re.fullmatch(
        r"stage 'pretrain' has shown no sign of life for 0\.\d minutes", told["message"]
    )
    assert run["id"] in told["ui"]
    assert works.states(run["id"])["pretrain"] == "Completed"
    wait_for_events(works, run["id"], "stemworks.stage.stalled", "pretrain")
    asked = {"logs": {"flow_run_id": {"any_": [run["id"]]}, "level": {"ge_": 30}}}
    warned = [row["message"] for row in works.api("logs/filter", asked)]
    assert told["message"] in warned


def test_gpu_time_is_spent_once_somebody_agrees(works: Works, copied: Path) -> None:
    home = untrained(copied, "index")
    order = works.order("pretrain", home, "gates.approval_gpu_hours=0")
    refused = works.start(*order)
    run = wait_for(lambda: _paused(works))
    asked = artifacts(works, run["id"])["approval"][0]["data"]
    assert "| pretrain |" in asked
    answer = works("approve", run["name"], "--refuse", "--reason", "too dear")
    assert answer.returncode == 0, answer.stderr
    said = refused.communicate(timeout=LIMIT_SECONDS)[0]
    assert refused.returncode == 4, said
    assert "were refused (too dear)" in said
    wait_for_events(works, run["id"], "stemworks.approval.refused", "approval")

    agreed = works.start(*order)
    run = wait_for(lambda: _paused(works))
    nobody = works("approve", "another name")
    assert nobody.returncode == 2
    assert run["id"] in nobody.stderr
    answer = works("approve", run["id"])
    assert answer.returncode == 0, answer.stderr
    said = agreed.communicate(timeout=LIMIT_SECONDS)[0]
    assert agreed.returncode == 0, said
    assert works.states(run["id"])["pretrain"] == "Completed"


def _paused(works: Works) -> dict[str, Any] | None:
    asked = {"flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}}}
    rows = works.api("flow_runs/filter", asked)
    return rows[0] if rows else None

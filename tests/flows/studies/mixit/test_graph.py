"""The study end to end under Prefect: done once, redone only where something is missing."""

import json
import signal
import time
from pathlib import Path

import pytest

from tests import synthesised
from tests.flows.conftest import (
    LIMIT_SECONDS,
    REDONE,
    STAGES,
    Works,
    kill_when,
    scores,
    shard_bytes,
    wait_for_no_job,
)

pytestmark = [pytest.mark.slow, pytest.mark.apart]


def run_again(works: Works, home: Path, *settings: str) -> dict[str, str]:
    """Run the study again; return the state name of each stage."""
    answer = works(*works.order("study", home, *settings))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return works.states(works.last_run(home)["id"])


def worked(states: dict[str, str]) -> set[str]:
    return {name for name, state in states.items() if state != "Cached"}


def test_archives_become_a_scored_separator(works: Works, finished: Path) -> None:
    first = finished.with_name("run.txt").read_text()
    run = works.api("flow_runs/filter", {"flow_runs": {"id": {"any_": [first]}}})[0]
    assert run["name"] == "study smoke"
    assert run["state"]["name"] == "Completed"
    assert works.states(run["id"]) == dict.fromkeys(STAGES, "Completed")
    page = (finished / "reports/smoke/report.html").read_text()
    assert "mixture / 4" in page
    assert {row["song"] for row in scores(finished)} == {synthesised.TEST_SONG}
    assert {row["stem"] for row in scores(finished)} == {"bass", "drums", "vocals", "other"}
    asked = {"flow_runs": {"id": {"any_": [first]}}, "limit": 200}
    artifacts = works.api("artifacts/filter", asked)
    assert {"run-card", "scores", "published-scores", "census"} <= {
        artifact["key"] for artifact in artifacts
    }


def test_census_closes(works: Works, finished: Path) -> None:
    answer = works("census", "--home", str(finished), "--json")
    census = json.loads(answer.stdout)
    assert census["tracks_in"] == synthesised.FMA_TRACKS
    assert census["tracks"] == synthesised.FMA_CLIPS
    assert census["filtered"] == synthesised.FMA_FILTERED
    assert census["quarantined"] == synthesised.FMA_QUARANTINED
    assert census["clips"] == sum(synthesised.FMA_CLIPS.values())


def test_second_run_does_nothing(works: Works, copied: Path) -> None:
    assert run_again(works, copied) == dict.fromkeys(REDONE, "Cached")


def test_lost_shard_alone_is_packed_again(works: Works, copied: Path) -> None:
    before = shard_bytes(copied)
    next(copied.glob("fma/*/shards/0002-00.tar")).unlink()
    assert worked(run_again(works, copied)) == {"pack 0002", "pack"}
    assert shard_bytes(copied) == before


def test_altered_byte_is_found_and_mended(works: Works, copied: Path) -> None:
    before = shard_bytes(copied)
    shard = next(copied.glob("fma/*/shards/0000-00.tar"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert works("verify", "--home", str(copied)).returncode == 3
    assert worked(run_again(works, copied)) == {"pack 0000", "pack"}
    assert shard_bytes(copied) == before
    assert works("verify", "--deep", "--home", str(copied)).returncode == 0


def test_failed_stage_alone_runs_again(works: Works, copied: Path, tmp_path: Path) -> None:
    """Evaluation fails, everything else stays; when its cause is gone, it alone is done."""
    for folder in (copied / "marks").glob("evaluate*"):
        for mark in folder.iterdir():
            mark.unlink()
    sabotage = tmp_path / "sitecustomize.py"
    sabotage.write_text(
        "import json, pathlib, sys\n"
        "if 'evaluate' in sys.orig_argv:\n"
        "    failure = pathlib.Path(sys.orig_argv[-1], 'failure.json')\n"
        "    why = {'error': 'DataError', 'message': 'no test songs today', 'exit_code': 9}\n"
        "    failure.write_text(json.dumps(why))\n"
        "    sys.exit(9)\n"
    )
    answer = works(*works.order("study", copied), environment={"PYTHONPATH": str(tmp_path)})
    assert answer.returncode == 4
    assert "stage 'evaluate finetune' failed" in answer.stderr
    assert "no test songs today" in answer.stderr
    assert "Traceback" not in answer.stderr
    run = works.last_run(copied)
    assert run["state"]["name"] == "Failed"
    evaluations = {"evaluate finetune", "evaluate train from scratch"}
    states = works.states(run["id"])
    assert {name for name, state in states.items() if state == "Failed"} == evaluations
    plan = json.loads(works("plan", *works.order("study", copied)[1:], "--json").stdout)
    failed = {stage["stage"] for stage in plan["stages"] if stage["state"] == "failed"}
    assert failed == evaluations
    assert worked(run_again(works, copied)) == evaluations


def test_force_is_one_shot(works: Works, copied: Path) -> None:
    before = scores(copied)
    answer = works(*works.order("study", copied), "--force", "select channels")
    assert answer.returncode == 0, answer.stderr
    assert worked(works.states(works.last_run(copied)["id"])) == {"select channels"}
    assert worked(run_again(works, copied)) == set()
    assert scores(copied) == before


def test_killed_while_packing(works: Works, finished: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    process = works.start(*works.order("fma", home, "fma.workers=1"))
    kill_when(process, lambda: len(list(home.glob("marks/pack/*.json"))) >= 2)
    done = {path: path.read_bytes() for path in home.glob("marks/pack/*.json")}
    assert done
    answer = works(*works.order("fma", home, "fma.workers=1"))
    assert answer.returncode == 0, answer.stderr
    assert shard_bytes(home) == shard_bytes(finished)
    assert {path: path.read_bytes() for path in done} == done
    crashed = works.api(
        "flow_runs/filter", {"flow_runs": {"state": {"name": {"any_": ["Crashed"]}}}}
    )
    dead = [run["id"] for run in crashed if run["parameters"]["home"] == str(home)]
    assert dead
    tasks = {state for run in dead for state in works.states(run).values()}
    assert "Running" not in tasks


def test_killed_while_pre_training(works: Works, finished: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    process = works.start(*works.order("study", home))
    kill_when(process, lambda: bool(_pretraining_checkpoints(home)))
    wait_for_no_job(home)
    steps = _pretraining_checkpoints(home)
    assert steps
    packed = {path: path.read_bytes() for path in home.glob("marks/pack/*.json")}
    states = run_again(works, home)
    assert worked(states).isdisjoint({"census", "plan fma", "unpack musdb"})
    assert {path: path.read_bytes() for path in packed} == packed
    log = next(home.glob("runs/train-*/log.txt"))
    assert any("resuming after step" in path.read_text() for path in home.glob("runs/*/log.txt")), (
        log
    )
    assert shard_bytes(home) == shard_bytes(finished)
    assert scores(home) == scores(finished)


def _pretraining_checkpoints(home: Path) -> list[Path]:
    return [
        folder
        for job in home.glob("runs/train-*/job.json")
        if '"index"' in job.read_text()
        for folder in (job.parent / "checkpoints").glob("step-*")
    ]


@pytest.mark.parametrize(("signal_number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_resumably(works: Works, tmp_path: Path, signal_number: int, code: int) -> None:
    home = tmp_path / "home"
    process = works.start(*works.order("pretrain", home, "pretraining.loop.steps=2000"))
    deadline = time.monotonic() + LIMIT_SECONDS
    while not _pretraining_checkpoints(home):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # Meanwhile nobody else can run the same study here.
    second = works(*works.order("pretrain", home, "pretraining.loop.steps=2000"))
    assert second.returncode == 4
    assert f"is being done by another process (pid {process.pid})" in second.stderr
    process.send_signal(signal_number)
    output = process.communicate(timeout=LIMIT_SECONDS)[0]
    assert process.returncode == code, output
    assert "Traceback" not in output
    wait_for_no_job(home)

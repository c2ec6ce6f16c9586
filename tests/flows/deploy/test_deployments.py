"""Flows deployed to a work pool: by command and by file, run by schedule, by a real worker."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from flows.deploy.deployments import deployment_of
from flows.deploy.schedule import NEVER, Timing
from flows.deploy.work_pools import Pool
from flows.engine.flow import stemworks, title
from flows.studies.mixit.config import MixitStudyConfig
from flows.studies.mixit.recipes import smoke
from flows.studies.request import RunRequest
from flows.studies.table import FLOWS, RECIPES, study_of_recipe
from storage.errors import ConfigError
from storage.home.open import open_home
from tests.flows.conftest import EVALUATIONS, HOST, LIMIT_SECONDS, REDONE, Works
from tests.flows.deploy.test_serve import wait_for

ROOT = Path(__file__).parents[3]
PARTS = list(study_of_recipe("demo").parts)
POOL = "tested"


def deployed(works: Works, study: str) -> dict[str, dict[str, Any]]:
    rows = works.api("deployments/filter", {"limit": 200})
    return {row["name"]: row for row in rows if row["name"].endswith(f"-{study}")}


def test_the_form_offers_recipes_overrides_and_a_whole_configuration() -> None:
    form = stemworks.parameters.model_dump()
    fields = form["properties"]
    assert list(fields) == ["recipe", "overrides", "home", "part", "config"]
    assert fields["recipe"]["enum"] == list(RECIPES)
    assert fields["part"]["enum"] == list(FLOWS)
    assert all(field["description"] for field in fields.values())
    shown = form["definitions"]["MixitStudyConfig"]["properties"]
    assert shown.keys() == MixitStudyConfig.model_fields.keys()
    nested = {"config": smoke().model_dump(mode="json"), "overrides": ["name=x"]}
    assert stemworks.validate_parameters(nested)["config"] == smoke()


def test_titles() -> None:
    given = {"recipe": "demo", "overrides": ["fma.hop_seconds=5"], "part": "fma", "config": None}
    assert title(given) == "fma demo"
    assert title({**given, "overrides": [" name = nightly"]}) == "fma nightly"
    assert title({**given, "config": smoke()}) == "fma smoke"


def test_the_file_says_what_the_command_makes() -> None:
    """All but where the home is: the command names it in full."""
    written = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    assert [entry["parameters"]["part"] for entry in written["deployments"]] == list(PARTS)
    pool = Pool.of("stemworks", "process", {})
    for entry in written["deployments"]:
        made = deployment_of(
            RunRequest(entry["parameters"]["part"], "demo", [], "home"), NEVER, pool
        ).model_dump(mode="json")
        for key in ("name", "entrypoint", "description", "tags"):
            assert entry[key] == made[key]
        assert entry["parameters"].keys() == made["parameters"].keys()
        assert stemworks.validate_parameters(entry["parameters"])
        assert entry["work_pool"]["name"] == made["work_pool_name"]
        assert not any(schedule["active"] for schedule in entry["schedules"])
    cron, weeks = Timing("0 3 * * 1-5", "1w", "Europe/Berlin").schedules()
    assert written["deployments"][0]["schedules"] == [
        {"cron": cron.cron, "timezone": cron.timezone, "active": False},
        {"rrule": weeks.rrule, "timezone": weeks.timezone, "active": False},
    ]


def test_a_container_does_not_see_this_machine_s_files(tmp_path: Path) -> None:
    pool = Pool.of("pods", "kubernetes", {"gpu_count": 2})

    def parameters(recipe: str, home: str, *settings: str) -> Any:
        return deployment_of(RunRequest("fma", recipe, [*settings], home), NEVER, pool).parameters

    with pytest.raises(ConfigError, match="cannot read the folder 'home' of this machine"):
        parameters("demo", "home")
    with pytest.raises(ConfigError, match=r"--set data\.root=/opt/stemworks/archives"):
        parameters("paper_small", "s3://bucket/home")
    with pytest.raises(ConfigError, match=r"--set data\.root"):
        parameters("paper_small", "s3://bucket/home", "data.root=archives")
    given = parameters("paper_small", "s3://bucket/home", "data.root=/archives")
    assert given["home"] == "s3://bucket/home"
    assert given["overrides"] == ["data.root=/archives"]
    assert parameters("demo", "/opt/stemworks/home")["overrides"] == []


@pytest.mark.slow
def test_prefect_s_own_command_deploys_the_file(works: Works, tmp_path: Path) -> None:
    answer = works("deploy", "--recipe", "demo", "--home", str(tmp_path), "--json")
    assert answer.returncode == 0, answer.stderr
    shown = {row["what"]: row["is"] for row in json.loads(answer.stdout)}
    assert shown["process pool stemworks"] == "created"
    assert shown[f"limit gpu:{HOST}"] == shown[f"limit packing:{HOST}"] == "exists"
    before = deployed(works, "demo")
    assert set(before) == {f"{part}-demo" for part in PARTS}
    start = f"deployments/{before['fma-demo']['id']}/create_flow_run"
    for wrong in ({"recipe": "nonsense"}, {"config": {"name": "x"}}, {"part": "table9"}):
        with pytest.raises(httpx.HTTPStatusError):
            works.api(start, {"parameters": wrong})
    own = {
        "PREFECT_API_URL": f"http://127.0.0.1:{works.port}/api",
        "PREFECT_HOME": str(tmp_path / "prefect"),
    }
    subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=ROOT, env=works.environment | own | {"PWD": str(ROOT)}, check=True, timeout=300,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    after = deployed(works, "demo")
    assert {name: row["id"] for name, row in after.items()} == {
        name: row["id"] for name, row in before.items()
    }
    assert all(row["job_variables"] == {"working_dir": str(ROOT)} for row in after.values())
    assert [one["active"] for one in after["study-demo"]["schedules"]] == [False, False]


@pytest.mark.slow
def test_the_dates_shown_are_those_that_the_server_plans(works: Works, tmp_path: Path) -> None:
    order = ["deploy", *works.order("study", tmp_path, "name=dated")[1:], "--pool", "dated"]
    timing = ["--every", "1d", "--timezone", "Europe/Berlin"]
    try:
        answer = works(*order, *timing, "--json")
        assert answer.returncode == 0, answer.stderr
        pool, *limits, row = json.loads(answer.stdout)
        assert all(one["next_runs"] == [] for one in (pool, *limits))
        assert row["is"] == "scheduled"
        shown = [datetime.fromisoformat(date) for date in row["next_runs"]]
        assert len(shown) == 5
        assert {(date.hour, date.minute) for date in shown} == {(0, 0)}
        [deployment] = deployed(works, "dated").values()
        [schedule] = deployment["schedules"]
        assert schedule["schedule"]["timezone"] == "Europe/Berlin"
        asked = {"deployments": {"id": {"any_": [deployment["id"]]}}}
        runs = wait_for(lambda: works.api("flow_runs/filter", asked))
        assert {datetime.fromisoformat(run["expected_start_time"]) for run in runs} <= set(shown)
        told = works(*order, *timing).stdout
        assert "time in Europe/Berlin" in told
        assert f"{shown[-1]:%a}" in told and f"{shown[-1]:%Y-%m-%d %H:%M:%S}" in told
    finally:
        again = works(*order)
        assert again.returncode == 0, again.stderr
        assert "next runs" not in again.stdout


@pytest.fixture
def worker(works: Works, unevaluated: Path, obstacle: Path) -> Iterator["subprocess.Popen[str]"]:
    """A worker of a pool in which a study, all but evaluated, is to run every half minute."""
    order = _order(works, unevaluated)
    answer = works("deploy", *order, "--every", "30s", "--cron", "0 0 29 2 *")
    assert answer.returncode == 0, answer.stderr
    given = {"PREFECT_WORKER_QUERY_SECONDS": "2", "PYTHONPATH": str(obstacle.parent)}
    worker = works.start("work", POOL, "--limit", "1", **given)
    yield worker
    again = works("deploy", *order)
    worker.send_signal(signal.SIGTERM)
    output = worker.communicate(timeout=LIMIT_SECONDS)[0]
    assert again.returncode == 0, again.stderr
    assert worker.returncode == 143
    assert "Traceback" not in output


@pytest.mark.slow
def test_a_schedule_fires_and_a_worker_runs_it(
    works: Works, unevaluated: Path, obstacle: Path, worker: "subprocess.Popen[str]"
) -> None:
    """Not started by anybody: planned by the server, taken by the worker. The first run finds the
    study going on, the second fails, and the third does what failed."""
    [deployment] = deployed(works, "smoke").values()
    assert deployment["tags"] == ["stemworks", "smoke", "study", "micro"]
    assert {next(iter(one["schedule"])) for one in deployment["schedules"]} == {"cron", "interval"}
    with open_home(str(unevaluated)).alone("study-smoke", "study 'smoke'"):
        skipped = wait_for(lambda: _fired(works, deployment["id"], "CANCELLED"), worker)
    assert skipped["state"]["name"] == "Skipped"
    assert f"is being done by another process (pid {os.getpid()})" in skipped["state"]["message"]
    failed = wait_for(lambda: _fired(works, deployment["id"], "FAILED"), worker)
    assert "no test songs today" in failed["state"]["message"]
    obstacle.unlink()
    run = wait_for(lambda: _fired(works, deployment["id"], "COMPLETED"), worker)
    assert run["id"] != failed["id"]
    for fired in (failed, run):
        assert fired["auto_scheduled"] is True
        assert fired["expected_start_time"][17:19] in ("00", "30"), "whenever it was deployed"
        assert fired["name"] == "study smoke"
        assert fired["work_pool_name"] == POOL
        assert {"auto-scheduled", "smoke", "study", "micro"} <= set(fired["tags"])
    # The scores are those of before, so the report that was made of them stands.
    states = works.states(run["id"])
    assert set(states) == set(REDONE)
    assert {name for name, state in states.items() if state == "Completed"} == EVALUATIONS
    assert {states[name] for name in states.keys() - EVALUATIONS} == {"Cached"}
    # Deployed anew without a schedule, it runs by itself no more.
    assert works("deploy", *_order(works, unevaluated)).returncode == 0
    [deployment] = deployed(works, "smoke").values()
    assert deployment["schedules"] == []


def _order(works: Works, home: Path) -> list[str]:
    return [*works.order("study", home)[1:], "--pool", POOL]


def _fired(works: Works, deployment: str, state: str) -> Any:
    asked = {
        "deployments": {"id": {"any_": [deployment]}},
        "flow_runs": {"state": {"type": {"any_": [state]}}},
        "sort": "EXPECTED_START_TIME_ASC",
    }
    rows = works.api("flow_runs/filter", asked)
    return rows[0] if rows else None

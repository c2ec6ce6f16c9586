"""Is this machine fit? What is wrong is named with what to do, and ends with its exit code."""

import importlib.metadata
import io
import json
import os
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from rich.console import Console

from flows.cli.machine import doctor
from flows.cli.output import View
from flows.deploy import schedule_health
from flows.server import server
from flows.server.settings import PASSWORD
from storage.errors import MachineError
from storage.home.layout import Home
from tests.flows.conftest import Works
from tests.flows.deploy.test_serve import wait_for

IN_BERLIN = {"anchor_date": "2024-01-01T00:00:00+01:00", "timezone": "Europe/Berlin"}


def torch_says(monkeypatch: pytest.MonkeyPatch, code: int, out: str, err: str) -> None:
    answer = subprocess.CompletedProcess([], code, out, err)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No server of anybody's, and nobody asks torch."""
    torch_says(monkeypatch, 0, "NVIDIA H200, NVIDIA H200\n", "")
    monkeypatch.setenv("STEMWORKS_STATE", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(server, "port_taken", lambda _: False)


def findings(home: Path) -> dict[str, dict[str, str]]:
    """Examine, and return what was shown by its name, even if something was wrong."""
    console = Console(file=io.StringIO(), width=300, _environ={})
    assert isinstance(console.file, io.StringIO)
    try:
        doctor.examine(Home(home), View(console, as_json=True))
    except MachineError:
        shown = json.loads(console.file.getvalue())
        assert any(row["verdict"] == "wrong" for row in shown)
    else:
        shown = json.loads(console.file.getvalue())
        assert not any(row["verdict"] == "wrong" for row in shown)
    return {row["name"]: row for row in shown}


def test_the_real_environment(works: Works, tmp_path: Path) -> None:
    answer = works("doctor", "--json", "--home", str(tmp_path))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    rows = json.loads(answer.stdout)
    for row in rows:
        assert row.keys() == {"name", "verdict", "found", "remedy"}
        assert row["verdict"] in ("ok", "note")
        assert bool(row["remedy"]) <= (row["verdict"] == "note" or row["found"] == "not running")
    found = {row["name"]: row["found"] for row in rows}
    assert found["Prefect server"] == f"http://127.0.0.1:{works.port}/v2"
    assert found["server's password"] == "none; 127.0.0.1 can be reached from this machine only"
    assert {"python", "prefect", "sqlalchemy", "ffmpeg", "disk", "GPU"} <= found.keys()


def test_for_people(quick: None, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=200, _environ={})
    doctor.examine(Home(tmp_path / "not" / "there" / "yet"), View(console, as_json=False))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "NVIDIA H200, NVIDIA H200" in text
    assert "the next run starts it" in text
    assert list(tmp_path.iterdir()) == [], "looking leaves nothing behind"


@pytest.mark.parametrize(("package", "version"), [("sqlalchemy", "2.1.0"), ("fastapi", "0.151.0")])
def test_a_version_with_a_known_fault(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, version: str
) -> None:
    real = importlib.metadata.version

    def other(name: str) -> str:
        return version if name == package else real(name)

    monkeypatch.setattr(importlib.metadata, "version", other)
    row = findings(tmp_path)[package]
    assert row["verdict"] == "wrong"
    assert row["found"].startswith(f"{version}, not <")
    harm = {"sqlalchemy": "schedules silently never fire", "fastapi": "the Prefect server cannot"}
    assert harm[package] in row["found"]
    with pytest.raises(MachineError, match=f"{package}: {version}, not .*; run 'make setup'"):
        doctor.examine(Home(tmp_path), View(Console(file=io.StringIO()), as_json=True))


def test_a_package_that_is_not_there(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.metadata.version

    def without(name: str) -> str:
        if name == "soxr":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", without)
    assert findings(tmp_path)["soxr"]["found"] == "not installed"


def test_no_ffmpeg_and_little_space_are_notes(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    usage: Any = mock.Mock(free=1_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    rows = findings(tmp_path)
    assert rows["ffmpeg"]["verdict"] == rows["disk"]["verdict"] == "note"
    assert "museval" in rows["ffmpeg"]["remedy"]
    assert rows["disk"]["found"] == "1 GB free"


@pytest.mark.parametrize(
    ("said", "verdict", "found"),
    [
        ((0, "\n", ""), "note", "none"),
        ((1, "", "Traceback ...\nImportError: libcuda\n"), "wrong", "ImportError: libcuda"),
        ((-9, "", ""), "wrong", "torch does not import"),
    ],
)
@pytest.mark.usefixtures("quick")
def test_what_torch_says(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: tuple[int, str, str],
    verdict: str,
    found: str,
) -> None:
    torch_says(monkeypatch, *said)
    row = findings(tmp_path)["GPU"]
    assert (row["verdict"], row["found"]) == (verdict, found)


def test_the_port_is_anothers(quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMWORKS_SERVER_PORT", "4321")
    monkeypatch.setattr(server, "port_taken", lambda settings: settings.port == 4321)
    row = findings(tmp_path)["Prefect server"]
    assert row["verdict"] == "wrong"
    assert "port 4321" in row["found"]
    assert "STEMWORKS_SERVER_PORT" in row["remedy"]


def test_a_named_server_that_is_away(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    row = findings(tmp_path)["Prefect server"]
    assert (row["verdict"], row["found"]) == ("wrong", "http://127.0.0.1:9/api")
    assert "PREFECT_API_URL" in row["remedy"]


@pytest.mark.parametrize(
    ("host", "password", "verdict", "said"),
    [
        ("127.0.0.1", "", "ok", "none; 127.0.0.1 can be reached from this machine only"),
        ("127.0.0.1", "works:secret", "ok", "set; 127.0.0.1 can be reached from this machine only"),
        ("0.0.0.0", "works:secret", "ok", "set; 0.0.0.0 can be reached from other machines, too"),
        ("0.0.0.0", "", "wrong", "the Prefect server would listen on 0.0.0.0 without a password"),
        ("127.0.0.1", "secret", "wrong", f"{PASSWORD} has no user name"),
    ],
)
@pytest.mark.usefixtures("quick")
def test_who_reaches_the_server_needs_a_password(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    password: str,
    verdict: str,
    said: str,
) -> None:
    monkeypatch.setenv("STEMWORKS_SERVER_HOST", host)
    monkeypatch.setenv(PASSWORD, password)
    row = findings(tmp_path)["server's password"]
    assert row["verdict"] == verdict
    assert row["found"].startswith(said)
    assert ("user:password" in row["remedy"]) == (verdict == "wrong")
    assert "secret" not in json.dumps(row)


def test_a_server_that_runs_without_the_password_that_is_set(works: Works, tmp_path: Path) -> None:
    """It was started before: strangers get in, whatever the environment says since."""
    answer = works("doctor", "--json", "--home", str(tmp_path), environment={PASSWORD: "a:secret"})
    assert answer.returncode == 5, answer.stdout
    [row] = [row for row in json.loads(answer.stdout) if row["name"] == "server's password"]
    assert row["verdict"] == "wrong"
    assert row["found"] == f"{PASSWORD} is set, and was not when the server started"
    assert "stemworks down" in row["remedy"]


@pytest.mark.parametrize(
    ("schedule", "verdict", "said"),
    [
        ({"cron": "0 0 29 2 *"}, "wrong", "no next run is planned of sleeping"),
        ({"cron": "0 * * * *"}, "ok", "1, the next run"),
        ({"cron": "0 0 3 * * *"}, "note", "at other times than they say: sleeping"),
        ({"interval": 86_400, **IN_BERLIN}, "note", "at other times than they say: sleeping"),
        ({"interval": 86_400, **IN_BERLIN, "timezone": "Asia/Tokyo"}, "ok", "1, the next run"),
    ],
)
def test_schedules_that_fire_and_some_that_do_not(
    works: Works, monkeypatch: pytest.MonkeyPatch, schedule: Any, verdict: str, said: str
) -> None:
    """The server plans a hundred days ahead: for it, the next 29 February does not come. The last
    are as earlier versions and other programs make them."""
    api = f"http://127.0.0.1:{works.port}/api"
    schedule = {"schedule": schedule, "active": True}
    flow = works.api("flows/", {"name": "sleeper"})["id"]
    body = {"name": "sleeping", "flow_id": flow, "schedules": [schedule]}
    deployment = works.api("deployments/", body)["id"]
    monkeypatch.setenv("PREFECT_API_URL", api)
    monkeypatch.setattr(schedule_health, "GRACE", timedelta(0))
    monkeypatch.setattr(doctor, "_gpu", lambda: doctor.Finding("GPU", "note", "not asked"))
    try:
        with temporary_settings({PREFECT_API_URL: api}), mock.patch.dict(os.environ):
            looked = wait_for(lambda: _looked(verdict))
    finally:
        works.api(f"deployments/{deployment}", method="DELETE")
    assert said in looked["found"]


def _looked(verdict: str) -> dict[str, str] | None:
    row = findings(Path())["schedules"]
    return row if row["verdict"] == verdict else None

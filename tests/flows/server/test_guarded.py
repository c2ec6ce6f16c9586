"""A server with a password refuses requests without it; only environments hold it."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.flows.conftest import Works
from tests.services import free_port

pytestmark = pytest.mark.slow

USER, PASSWORD = "works", "a-password-that-appears-nowhere-else"


@pytest.fixture(scope="module")
def guarded(works: Works, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Works]:
    """A server of this module's own, which asks for a password."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_SERVER_API_AUTH_STRING", f"{USER}:{PASSWORD}")
        # Taken for the password, it would be refused.
        patch.setenv("PREFECT_API_KEY", "of another server")
        guarded = Works(tmp_path_factory.mktemp("guarded") / "state", free_port(), works.archives)
        yield guarded
        guarded("down")


def test_strangers_stay_out_and_the_password_stays_in(guarded: Works, tmp_path: Path) -> None:
    home = tmp_path / "home"
    answer = guarded(*guarded.order("musdb", home))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    api, login = f"http://127.0.0.1:{guarded.port}/api", (USER, PASSWORD)
    with httpx.Client(timeout=60) as http:
        assert http.get(f"{api}/admin/version").status_code == 401
        assert http.get(f"{api}/admin/version", auth=(USER, "guessed")).status_code == 401
        assert http.get(f"{api}/admin/version", auth=login).status_code == 200
        # What changes anything needs a token besides, and without one no password is looked at:
        # another site's page may have the password with it, but not the token.
        assert http.post(f"{api}/flow_runs/filter", json={}).status_code == 403
        assert http.post(f"{api}/flow_runs/filter", json={}, auth=login).status_code == 403
        origin = {"Origin": "https://another.example"}
        health = http.get(f"{api}/health", headers=origin)
        assert "access-control-allow-origin" not in health.headers
        page = http.get(f"http://127.0.0.1:{guarded.port}/ui-settings").text
        settings = http.get(f"{api}/admin/settings", auth=login).text
    places = [path for folder in (home, guarded.state) for path in folder.rglob("*")]
    kept = {path: path.read_bytes() for path in places if path.is_file()}
    assert any(path.name == "prefect.db" for path in kept), "runs, logs and artifacts are in it"
    secrets = [PASSWORD.encode()]
    assert not [path for path, data in kept.items() if any(one in data for one in secrets)]
    for said in (answer.stdout, answer.stderr, page, settings):
        assert PASSWORD not in said


def test_the_doctor_says_that_a_server_wants_its_password(guarded: Works, tmp_path: Path) -> None:
    assert guarded("ui").returncode == 0
    words = ("doctor", "--json", "--home", str(tmp_path))
    for given, verdict in ((f"{USER}:{PASSWORD}", "ok"), ("", "wrong")):
        answer = guarded(*words, environment={"PREFECT_SERVER_API_AUTH_STRING": given})
        assert answer.returncode == (5 if verdict == "wrong" else 0), answer.stderr
        found = {row["name"]: row for row in json.loads(answer.stdout)}
        assert found["server's password"]["verdict"] == found["schedules"]["verdict"] == verdict
        assert PASSWORD not in answer.stdout
    assert "is not set, and was when the server started" in found["server's password"]["found"]
    assert "answers 401" in found["schedules"]["found"]
    url = {"PREFECT_API_URL": f"http://127.0.0.1:{guarded.port}/api"}
    answer = guarded(*words, environment={"PREFECT_SERVER_API_AUTH_STRING": "", **url})
    [row] = [row for row in json.loads(answer.stdout) if row["verdict"] == "wrong"]
    assert (
        row["remedy"]
        == "if that is 401, set PREFECT_API_AUTH_STRING; otherwise see the server's log"
    )

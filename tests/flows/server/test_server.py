"""The server is found or started where the environment says, and no other is mistaken for it."""

import http.server
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import httpx
import pytest

from flows.server import server, settings
from flows.server.settings import ServerSettings
from storage.errors import ConfigError, MachineError
from storage.files import write_json
from storage.processes import identity
from tests.flows.conftest import Works


class Healthy(http.server.BaseHTTPRequestHandler):
    """Answers as a healthy server, at one path only."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/api/health" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Let nothing that `connect` sets leak into other tests."""
    with mock.patch.dict(os.environ):
        for name in [name for name in os.environ if name.startswith(("PREFECT_", "STEMWORKS_"))]:
            del os.environ[name]
        yield


@pytest.fixture
def healthy() -> Iterator[int]:
    """A port at which something answers as a Prefect server does."""
    answerer = http.server.HTTPServer(("127.0.0.1", 0), Healthy)
    thread = threading.Thread(target=answerer.serve_forever, args=(0.05,))
    thread.start()
    yield answerer.server_port
    answerer.shutdown()
    thread.join()
    answerer.server_close()


@pytest.fixture
def gibberish() -> Iterator[int]:
    """A port at which something answers, but not in HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_settings_by_environment(tmp_path: Path) -> None:
    own = ServerSettings.from_environment()
    assert (own.host, own.port) == ("127.0.0.1", 4200), "on loopback by default"
    assert own.state == Path.home() / ".local/state/stemworks"
    os.environ |= {
        "STEMWORKS_STATE": str(tmp_path / "here" / ".." / "there"),
        "STEMWORKS_SERVER_HOST": "0.0.0.0",
        "STEMWORKS_SERVER_PORT": "4321",
    }
    own = ServerSettings.from_environment()
    assert own == ServerSettings(tmp_path / "there", "0.0.0.0", 4321)
    assert own.address == "http://127.0.0.1:4321", "where this machine finds it"
    assert own.public_address == f"http://{socket.getfqdn()}:4321"
    for path in (own.record, own.log, own.run_heartbeats):
        assert path.is_relative_to(tmp_path / "there")


@pytest.mark.parametrize("port", ["http", "-1", "0", "65536", "99999", "4200.0", "²", "٤٢"])
def test_an_invalid_port(port: str) -> None:
    os.environ["STEMWORKS_SERVER_PORT"] = port
    with pytest.raises(MachineError, match=f"STEMWORKS_SERVER_PORT is '{port}'; give a port"):
        ServerSettings.from_environment()


def test_the_shared_environment(tmp_path: Path) -> None:
    given = settings.shared_environment(ServerSettings(tmp_path, "127.0.0.2", 4321))
    assert given["PREFECT_UI_URL"] == "http://127.0.0.2:4321/v2"
    assert given["PREFECT_API_URL"] == "http://127.0.0.2:4321/api"
    assert given["PREFECT_SERVER_API_HOST"] == "127.0.0.2"
    assert given["PREFECT_SERVER_API_PORT"] == "4321"
    assert Path(given["PREFECT_HOME"]).is_relative_to(tmp_path), "a PREFECT_HOME of its own"
    assert given["PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT"] == "false"
    assert given["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert given["DO_NOT_TRACK"] == "1"

    assert given["PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED"] == "events,flow_runs"
    assert not [name for name in given if "AUTH" in name or "CSRF" in name], (
        "no password, no protection"
    )
    assert "PREFECT_FLOWS_HEARTBEAT_FREQUENCY" not in given, "on SQLite no automation reads them"
    os.environ["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = "postgresql+asyncpg://u@h/d"
    given = settings.shared_environment(ServerSettings(tmp_path, "127.0.0.2", 4321))
    assert given["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"


@pytest.mark.parametrize(
    ("host", "private"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("works.example", False)],
)  # fmt: skip
def test_beyond_loopback_a_password_is_required(tmp_path: Path, host: str, private: bool) -> None:
    own = ServerSettings(tmp_path, host, 4321)
    assert own.is_private == private
    if not private:
        with pytest.raises(ConfigError, match=rf"listen on {host} without a password"):
            settings.require_password(own)
        os.environ |= {"STEMWORKS_STATE": str(tmp_path), "STEMWORKS_SERVER_HOST": host}
        with pytest.raises(ConfigError, match="PREFECT_SERVER_API_AUTH_STRING=user:password"):
            server.connect()
    os.environ["PREFECT_SERVER_API_AUTH_STRING"] = "works:secret"
    settings.require_password(own)
    given = settings.shared_environment(own)
    assert given["PREFECT_API_AUTH_STRING"] == "works:secret"
    assert given["PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED"] == "true"
    assert given["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == own.public_address
    assert given["PREFECT_SERVER_UI_API_URL"] == f"{own.public_address}/api"


def test_a_password_needs_a_user_name(tmp_path: Path) -> None:
    os.environ["PREFECT_SERVER_API_AUTH_STRING"] = "secret"
    with pytest.raises(ConfigError, match="has no user name") as caught:
        settings.require_password(ServerSettings(tmp_path, "127.0.0.1", 4321))
    assert "secret" not in str(caught.value)


def test_behind_a_proxy_the_origin_is_the_proxy_s_address(tmp_path: Path) -> None:
    os.environ["PREFECT_SERVER_API_AUTH_STRING"] = "works:secret"
    os.environ["PREFECT_UI_URL"] = "https://works.example/v2"
    given = settings.shared_environment(ServerSettings(tmp_path, "0.0.0.0", 4321))
    assert given["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "https://works.example"
    assert given["PREFECT_SERVER_UI_API_URL"] == "https://works.example/api"
    assert given["PREFECT_API_URL"] == "http://127.0.0.1:4321/api"


def test_a_real_server_applies_them(served: Works, works: Works) -> None:
    address = f"http://127.0.0.1:{works.port}"
    shown = httpx.get(f"{address}/ui-settings").json()
    assert shown["api_url"] == f"{address}/api"
    settled = httpx.get(f"{address}/api/admin/settings").json()
    assert settled["server"]["ui"]["show_promotional_content"] is False
    assert settled["server"]["analytics_enabled"] is False
    assert settled["home"] == str(served.state / "prefect")
    assert httpx.get(f"{address}/v2/", follow_redirects=True).status_code == 200
    os.environ["STEMWORKS_STATE"] = str(works.state)
    os.environ["STEMWORKS_SERVER_PORT"] = str(works.port)
    assert server.running(ServerSettings.from_environment())
    assert server.connect() == f"{address}/v2"
    assert os.environ["PREFECT_API_URL"] == f"{address}/api"


def test_running_means_our_own_live_process(tmp_path: Path, healthy: int) -> None:
    own = ServerSettings(tmp_path, "127.0.0.1", healthy)
    assert not server.running(own), "no record"
    record = identity() | {"address": own.address}
    write_json(own.record, record)
    assert server.running(own)
    for change in (
        {"pid": 2**22 + 1},
        {"boot": "another"},
        {"start": "1"},
        {"address": "http://127.0.0.1:1"},
    ):
        write_json(own.record, record | change)
        assert not server.running(own), change
    own.record.write_text('{"pid": ')
    assert not server.running(own), "unreadable"


def test_a_process_that_does_not_answer_is_not_running(tmp_path: Path) -> None:
    own = ServerSettings(tmp_path, "127.0.0.1", free_port())
    write_json(own.record, identity() | {"address": own.address})
    assert not server.running(own)
    assert not server.port_taken(own)


def test_answers(healthy: int, gibberish: int) -> None:
    assert server.answers(f"http://127.0.0.1:{healthy}/api")
    assert not server.answers(f"http://127.0.0.1:{healthy}/other")
    assert not server.answers(f"http://127.0.0.1:{gibberish}/api")
    assert not server.answers(f"http://127.0.0.1:{free_port()}/api")
    assert not server.answers("no address at all")


def test_a_given_server_is_used_as_it_is(healthy: int, tmp_path: Path) -> None:
    os.environ["STEMWORKS_STATE"] = str(tmp_path / "state")
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{healthy}/api"
    assert server.connect() == f"http://127.0.0.1:{healthy}/v2"
    assert os.environ["PREFECT_UI_URL"] == f"http://127.0.0.1:{healthy}/v2"
    assert os.environ["DO_NOT_TRACK"] == "1"
    assert not (tmp_path / "state").exists(), "no server of our own"
    os.environ["PREFECT_UI_URL"] = "https://ui.example"
    assert server.connect() == "https://ui.example"


def test_a_given_server_that_does_not_answer() -> None:
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{free_port()}/api"
    with pytest.raises(MachineError, match="unset PREFECT_API_URL"):
        server.connect()


def test_a_port_in_use_is_not_taken_over(
    tmp_path: Path, healthy: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even one at which a Prefect server answers that we did not start."""
    monkeypatch.setattr(subprocess, "Popen", None)
    os.environ["STEMWORKS_STATE"] = str(tmp_path)
    os.environ["STEMWORKS_SERVER_PORT"] = str(healthy)
    with pytest.raises(MachineError, match=f"port {healthy} on 127.0.0.1 is in use"):
        server.connect()
    assert not ServerSettings.from_environment().record.exists()


def test_a_busy_server_of_ours_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds its port and is slow to answer: no other program, and no second one to start."""
    asked = 0

    class Busy(Healthy):
        def do_GET(self) -> None:
            nonlocal asked
            asked += 1
            if asked < 4:
                threading.Event().wait(0.3)
            else:
                super().do_GET()

    monkeypatch.setattr(subprocess, "Popen", None)
    monkeypatch.setattr(server, "ANSWER_SECONDS", 0.2)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Busy) as busy:
        thread = threading.Thread(target=busy.serve_forever, args=(0.05,))
        thread.start()
        try:
            os.environ["STEMWORKS_STATE"] = str(tmp_path)
            os.environ["STEMWORKS_SERVER_PORT"] = str(busy.server_port)
            own = ServerSettings.from_environment()
            write_json(own.record, identity() | {"address": own.address})
            assert server.connect() == f"{own.address}/v2"
            asked = 0
            del os.environ["PREFECT_API_URL"]
            monkeypatch.setattr(server, "START_SECONDS", 0.1)
            with pytest.raises(MachineError, match="is running, but has not answered"):
                server.connect()
        finally:
            busy.shutdown()
            thread.join()


def test_stopping_without_a_server(tmp_path: Path) -> None:
    own = ServerSettings(tmp_path, "127.0.0.1", free_port())
    assert not server.stop(own)
    write_json(own.record, identity() | {"boot": "another", "address": own.address})
    assert not server.stop(own), "after a reboot the pid is another process's"

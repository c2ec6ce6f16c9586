"""The Prefect server: found where PREFECT_API_URL says, or started in the background on loopback.

Never Prefect's implicit ephemeral server: it loses most of a run's history when it exits.
Whoever reaches a Prefect server can have its workers run any code: so it listens on loopback, or
asks for a password, which is in the environment and nowhere else.
Nothing here imports Prefect, whose settings are read from the environment when it is imported.
"""

import http.client
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from storage.errors import ConfigError, LockedError, MachineError, ManifestError
from storage.files import only_one, read_json, write_json
from storage.processes import identity, is_alive, start_time

START_SECONDS = 180.0
"""A first start migrates the database; on a busy laptop that takes half a minute."""
STOP_SECONDS = 20.0
LOOPBACK, EVERYWHERE = "127.0.0.1", ("0.0.0.0", "::")
PASSWORD = "PREFECT_SERVER_API_AUTH_STRING"
"""The variable that holds it, as `user:password`."""
HEARTBEAT_SECONDS = 30
"""Between two signs of life of a run, where the server looks for them."""
LEASES = "prefect.server.concurrency.lease_storage.filesystem"  # else lost with the server
KEPT_DAYS = 90
"""For which the server keeps the runs that ended, their logs and artifacts."""


@dataclass(frozen=True)
class Place:
    """Where the server of this user lives, by environment."""

    state: Path
    """STEMWORKS_STATE: the server's database and log, and notes on live runs."""
    host: str
    """STEMWORKS_SERVER_HOST."""
    port: int
    """STEMWORKS_SERVER_PORT."""

    @classmethod
    def from_environment(cls) -> "Place":
        """Read the environment; raise `MachineError` if the port is none."""
        state = os.environ.get("STEMWORKS_STATE", "~/.local/state/stemworks")
        port = os.environ.get("STEMWORKS_SERVER_PORT", "4200")
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise MachineError(f"STEMWORKS_SERVER_PORT is '{port}'; give a port number")
        host = os.environ.get("STEMWORKS_SERVER_HOST", "127.0.0.1")
        return cls(Path(state).expanduser().resolve(), host, int(port))

    @property
    def address(self) -> str:
        """The server's address without a path, for this machine."""
        host = LOOPBACK if self.host in EVERYWHERE else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def is_private(self) -> bool:
        """Say whether only this machine reaches it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def public_address(self) -> str:
        """The server's address without a path, for the browsers of others."""
        named = f"http://{socket.getfqdn()}:{self.port}"
        return named if self.host in EVERYWHERE else self.address

    @property
    def record(self) -> Path:
        """Which process is the server."""
        return self.state / "server.json"

    @property
    def log(self) -> Path:
        """What the server prints."""
        return self.state / "server.log"

    @property
    def live_runs(self) -> Path:
        """Folder of notes on the flow runs that processes of this machine are doing."""
        return self.state / "live-runs"


def settings(place: Place) -> dict[str, str]:
    """Return the environment that server and clients share."""
    return (
        {
            "PREFECT_HOME": str(place.state / "prefect"),
            "PREFECT_API_URL": f"{place.address}/api",
            # Prefect's printed links lead to the old UI unless told otherwise.
            "PREFECT_UI_URL": f"{place.address}/v2",
            # As options instead, host and port would not reach the UI, which cannot connect then.
            "PREFECT_SERVER_API_HOST": place.host,
            "PREFECT_SERVER_API_PORT": str(place.port),
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES,
            "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
            "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(KEPT_DAYS * 86400),
        }
        | guard(place)
        | (heartbeats() if database() == "postgresql" else {})
        | quiet()
    )


def guard(place: Place) -> dict[str, str]:
    """Return the settings that keep strangers out, where a password is given."""
    password = os.environ.get(PASSWORD, "")
    if not password:
        return {}
    ui = f"{place.address}/v2"
    if not place.is_private:
        # Behind a proxy that speaks TLS, its own address is given.
        ui = os.environ.get("PREFECT_UI_URL", f"{place.public_address}/v2")
    origin = "/".join(ui.split("/")[:3])
    return {
        PASSWORD: password,
        "PREFECT_API_AUTH_STRING": password,
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origin,
        "PREFECT_SERVER_UI_API_URL": f"{origin}/api",
        "PREFECT_UI_URL": ui,
    }


def heartbeats() -> dict[str, str]:
    """Return the settings by which runs give signs of life to a server that looks for them."""
    return {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS)}


def database() -> Literal["postgresql", "sqlite"] | None:
    """Return which database the server has, or None if it is another's, which does not say."""
    given = os.environ.get("PREFECT_SERVER_DATABASE_CONNECTION_URL", "")
    if not given and os.environ.get("PREFECT_API_URL", "") not in ("", _own_api()):
        return None
    return "postgresql" if given.startswith("postgresql") else "sqlite"


def _own_api() -> str:
    return f"{Place.from_environment().address}/api"


def quiet() -> dict[str, str]:
    """Return the settings that stop telemetry, and keep Prefect's own log off the console."""
    return {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    }


def connect() -> str:
    """Make sure a server answers, and set this process's environment to use it.

    Returns:
        The address of its UI.

    Raises:
        MachineError: PREFECT_API_URL's server does not answer, the port is another program's, or
            the server does not start.
        ConfigError: it would listen beyond loopback without a password.
    """
    given = os.environ.get("PREFECT_API_URL")
    if given:
        if not answers(given):
            raise MachineError(
                f"no Prefect server answers at PREFECT_API_URL={given}; start it, or unset "
                "PREFECT_API_URL to let stemworks start its own"
            )
        os.environ.update(quiet())
        for name, value in heartbeats().items() if database() != "sqlite" else ():
            os.environ.setdefault(name, value)
        return os.environ.setdefault("PREFECT_UI_URL", given.removesuffix("/api") + "/v2")
    place = Place.from_environment()
    if not running(place):
        _start(place)
    os.environ.update(settings(place))
    # It would be taken for the password, and refused.
    os.environ.pop("PREFECT_API_KEY", None)
    return os.environ["PREFECT_UI_URL"]


def running(place: Place) -> bool:
    """Say whether our own server lives and answers."""
    try:
        who = read_json(place.record)
    except ManifestError:
        return False
    return is_alive(who) and who["address"] == place.address and answers(f"{place.address}/api")


def stop(place: Place) -> bool:
    """Stop our own server; return whether there was one."""
    try:
        who = read_json(place.record)
    except ManifestError:
        return False
    if not is_alive(who):
        return False
    os.kill(who["pid"], signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while is_alive(who) and time.monotonic() < deadline:
        time.sleep(0.1)
    if is_alive(who):
        os.kill(who["pid"], signal.SIGKILL)
    place.record.unlink(missing_ok=True)
    return True


def require_guard(place: Place) -> None:
    """Raise `ConfigError` if the server would let strangers in."""
    password = os.environ.get(PASSWORD, "")
    if password and ":" not in password:
        raise ConfigError(f"{PASSWORD} holds no user; give it as user:password")
    if not (password or place.is_private):
        raise ConfigError(
            f"the Prefect server would listen on {place.host} without a password, and whoever "
            f"reaches it can run code on this machine; set {PASSWORD}=user:password in the "
            f"environment, or leave STEMWORKS_SERVER_HOST at {LOOPBACK}"
        )


def _start(place: Place) -> None:
    require_guard(place)
    try:
        with only_one(place.state / "server.lock", "starting the Prefect server"):
            if not running(place):
                _start_now(place)
    except LockedError:
        # Another command is starting it: wait for it to answer.
        _wait(place, None)


def _start_now(place: Place) -> None:
    if port_taken(place):
        raise MachineError(
            f"port {place.port} on {place.host} is in use by another program; end it, or choose "
            "another with STEMWORKS_SERVER_PORT"
        )
    place.state.mkdir(parents=True, exist_ok=True)
    with place.log.open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | settings(place),
            start_new_session=True,
        )
    who = identity() | {"pid": child.pid, "start": start_time(child.pid)}
    write_json(place.record, who | {"address": place.address})
    _wait(place, child)


def _wait(place: Place, child: "subprocess.Popen[bytes] | None") -> None:
    deadline = time.monotonic() + START_SECONDS
    while not answers(f"{place.address}/api"):
        ended = child is not None and child.poll() is not None
        if ended or time.monotonic() > deadline:
            raise MachineError(
                f"the Prefect server did not start; see the end of {place.log}, "
                "and 'stemworks doctor'"
            )
        time.sleep(0.2)


def answers(api: str) -> bool:
    """Say whether a Prefect API answers."""
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=5) as response:
            return bool(response.status == 200)
    except (OSError, http.client.HTTPException, ValueError):
        return False


def port_taken(place: Place) -> bool:
    """Say whether something listens on the server's port."""
    with socket.socket() as probe:
        probe.settimeout(2)
        host = LOOPBACK if place.host in EVERYWHERE else place.host
        return probe.connect_ex((host, place.port)) == 0


def have(program: str) -> bool:
    """Say whether a program is on the PATH."""
    return shutil.which(program) is not None

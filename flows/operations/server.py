"""The Prefect server: found where PREFECT_API_URL says, or started in the background on loopback.

Never Prefect's implicit ephemeral server: it loses most of a run's history when it exits.
Nothing here imports Prefect, whose settings are read from the environment when it is imported.
"""

import http.client
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

from storage.errors import LockedError, MachineError, ManifestError
from storage.files import only_one, read_json, write_json
from storage.processes import identity, is_alive, start_time

START_SECONDS = 180.0
"""A first start migrates the database; on a busy laptop that takes half a minute."""
STOP_SECONDS = 20.0


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
        """The server's address without a path."""
        return f"http://{self.host}:{self.port}"

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
    return {
        "PREFECT_HOME": str(place.state / "prefect"),
        "PREFECT_API_URL": f"{place.address}/api",
        # Prefect's printed links lead to the old UI unless told otherwise.
        "PREFECT_UI_URL": f"{place.address}/v2",
        # Given as options instead, host and port would not reach the UI, which then cannot connect.
        "PREFECT_SERVER_API_HOST": place.host,
        "PREFECT_SERVER_API_PORT": str(place.port),
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    } | quiet()


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
    """
    given = os.environ.get("PREFECT_API_URL")
    if given:
        if not answers(given):
            raise MachineError(
                f"no Prefect server answers at PREFECT_API_URL={given}; start it, or unset "
                "PREFECT_API_URL to let stemworks start its own"
            )
        os.environ.update(quiet())
        return os.environ.setdefault("PREFECT_UI_URL", given.removesuffix("/api") + "/v2")
    place = Place.from_environment()
    if not running(place):
        _start(place)
    os.environ.update(settings(place))
    return f"{place.address}/v2"


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


def _start(place: Place) -> None:
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
        return probe.connect_ex((place.host, place.port)) == 0


def have(program: str) -> bool:
    """Say whether a program is on the PATH."""
    return shutil.which(program) is not None

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

from flows.server.settings import (
    EVERYWHERE,
    LOOPBACK,
    ServerSettings,
    database,
    heartbeats,
    quiet,
    require_guard,
    settings,
)
from storage.errors import LockedError, MachineError, ManifestError
from storage.files import only_one, read_json, write_json
from storage.processes import identity, is_alive, start_time

START_SECONDS = 180.0
"""A first start migrates the database; on a busy laptop that takes half a minute."""
STOP_SECONDS = 20.0


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
    place = ServerSettings.from_environment()
    if not running(place):
        _start(place)
    os.environ.update(settings(place))
    # It would be taken for the password, and refused.
    os.environ.pop("PREFECT_API_KEY", None)
    return os.environ["PREFECT_UI_URL"]


def running(place: ServerSettings) -> bool:
    """Say whether our own server lives and answers."""
    try:
        who = read_json(place.record)
    except ManifestError:
        return False
    return is_alive(who) and who["address"] == place.address and answers(f"{place.address}/api")


def stop(place: ServerSettings) -> bool:
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


def _start(place: ServerSettings) -> None:
    require_guard(place)
    try:
        with only_one(place.state / "server.lock", "starting the Prefect server"):
            if not running(place):
                _start_now(place)
    except LockedError:
        # Another command is starting it: wait for it to answer.
        _wait(place, None)


def _start_now(place: ServerSettings) -> None:
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


def _wait(place: ServerSettings, child: "subprocess.Popen[bytes] | None") -> None:
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


def port_taken(place: ServerSettings) -> bool:
    """Say whether something listens on the server's port."""
    with socket.socket() as probe:
        probe.settimeout(2)
        host = LOOPBACK if place.host in EVERYWHERE else place.host
        return probe.connect_ex((host, place.port)) == 0


def have(program: str) -> bool:
    """Say whether a program is on the PATH."""
    return shutil.which(program) is not None

"""The Prefect server: found where PREFECT_API_URL says, or started in the background on loopback.

Never Prefect's implicit ephemeral server: it loses most of a run's history when it exits.
Nothing here imports Prefect, which reads its settings from the environment when it is imported.
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
    ALL_INTERFACES,
    LOOPBACK,
    ServerSettings,
    client_environment,
    database,
    heartbeat_environment,
    require_password,
    shared_environment,
)
from storage.environment import SERVER_PORT
from storage.errors import LockedError, MachineError, ManifestError
from storage.files import only_one, read_json, write_json
from storage.processes import identity, is_alive, start_time

START_SECONDS = 180.0
"""A first start migrates the database; on a busy laptop that takes half a minute."""
STOP_SECONDS = 20.0
ANSWER_SECONDS, GIVEN_ANSWER_SECONDS = 5.0, 30.0
"""Within which a healthy server answers: ours, which is asked again; and one that was named."""


def connect() -> str:
    """Make sure a server answers, and set this process's environment to use it.

    Returns:
        The address of its UI.

    Raises:
        MachineError: PREFECT_API_URL's server does not answer, another program uses the port, or
            the server does not start.
        ConfigError: the server would listen beyond loopback without a password.
    """
    given = os.environ.get("PREFECT_API_URL")
    if given:
        if not answers(given, GIVEN_ANSWER_SECONDS):
            raise MachineError(
                f"no Prefect server answers at PREFECT_API_URL={given}; start it, or unset "
                "PREFECT_API_URL to let stemworks start its own"
            )
        os.environ.update(client_environment())
        for name, value in heartbeat_environment().items() if database() != "sqlite" else ():
            os.environ.setdefault(name, value)
        return os.environ.setdefault("PREFECT_UI_URL", given.removesuffix("/api") + "/v2")
    server = ServerSettings.from_environment()
    if not running(server):
        _start(server)
    os.environ.update(shared_environment(server))
    # Prefect would send it instead of the password, and the server would refuse it.
    os.environ.pop("PREFECT_API_KEY", None)
    return os.environ["PREFECT_UI_URL"]


def running(server: ServerSettings) -> bool:
    """Whether the server that we started is alive and answers."""
    return _lives(server) and answers(f"{server.address}/api")


def _lives(server: ServerSettings) -> bool:
    """Whether the server that we started is alive; a busy one may be slow to answer."""
    try:
        process = read_json(server.record)
    except ManifestError:
        return False
    return is_alive(process) and bool(process["address"] == server.address)


def stop(server: ServerSettings) -> bool:
    """Stop the server that we started; return whether there was one."""
    try:
        process = read_json(server.record)
    except ManifestError:
        return False
    if not is_alive(process):
        return False
    os.kill(process["pid"], signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while is_alive(process) and time.monotonic() < deadline:
        time.sleep(0.1)
    if is_alive(process):
        os.kill(process["pid"], signal.SIGKILL)
    server.record.unlink(missing_ok=True)
    return True


def _start(server: ServerSettings) -> None:
    require_password(server)
    try:
        with only_one(server.state / "server.lock", "starting the Prefect server"):
            if _lives(server):
                _wait(server, None)
            else:
                _start_now(server)
    except LockedError:
        # Another command is starting it: wait for it to answer.
        _wait(server, None)


def _start_now(server: ServerSettings) -> None:
    if port_taken(server):
        raise MachineError(
            f"port {server.port} on {server.host} is in use by another program; stop it, or "
            f"choose another port with {SERVER_PORT.name}"
        )
    server.state.mkdir(parents=True, exist_ok=True)
    with server.log.open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | shared_environment(server),
            start_new_session=True,
        )
    process = identity() | {"pid": child.pid, "start": start_time(child.pid)}
    write_json(server.record, process | {"address": server.address})
    _wait(server, child)


def _wait(server: ServerSettings, child: "subprocess.Popen[bytes] | None") -> None:
    deadline = time.monotonic() + START_SECONDS
    while not answers(f"{server.address}/api"):
        ended = child is not None and child.poll() is not None
        if ended or (time.monotonic() > deadline and not _lives(server)):
            raise MachineError(
                f"the Prefect server did not start; see the end of {server.log}, "
                "and run 'stemworks doctor'"
            )
        if time.monotonic() > deadline:
            raise MachineError(
                f"the Prefect server at {server.address} is running, but has not answered for "
                f"{START_SECONDS:g} s; see the end of {server.log}, and how busy the machine is, "
                "or stop it with 'stemworks down'"
            )
        time.sleep(0.2)


def answers(api: str, within: float | None = None) -> bool:
    """Whether a Prefect API answers at this address, within some seconds."""
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=within or ANSWER_SECONDS) as response:
            return bool(response.status == 200)
    except (OSError, http.client.HTTPException, ValueError):
        return False


def port_taken(server: ServerSettings) -> bool:
    """Whether a program listens on the server's port."""
    with socket.socket() as probe:
        probe.settimeout(2)
        host = LOOPBACK if server.host in ALL_INTERFACES else server.host
        return probe.connect_ex((host, server.port)) == 0


def have(program: str) -> bool:
    """Whether a program is on the PATH."""
    return shutil.which(program) is not None

"""Is this machine fit to run a study? Each check is one line: what, what was found, what to do."""

import http.client
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple

import httpx
from packaging.requirements import Requirement

from flows.server import server
from flows.server.settings import PASSWORD, ServerSettings, require_password
from storage.errors import ConfigError
from storage.home.layout import Home

GIGABYTE = 1e9
COMFORT_BYTES = 5e9
"""Free space below which only the smallest studies fit."""

HARM = {
    "sqlalchemy": ": everything seems to work, but schedules silently never fire",
    "fastapi": ": the Prefect server cannot start",
}
"""What a version does that this Prefect was not made for."""


class Finding(NamedTuple):
    """What one check found."""

    name: str
    verdict: str
    """`ok`, `note` or `wrong`."""
    found: str
    remedy: str = ""


def examine(home: Home) -> list[Finding]:
    """Check everything."""
    return [
        *_versions(),
        *_programs(),
        _disk(home),
        _processors(),
        _gpu(),
        _server(),
        *_guard(),
        *_schedules(),
    ]


def _versions() -> Iterator[Finding]:
    """Compare what is installed with what the project declares."""
    yield Finding("python", "ok", platform.python_version())
    for line in importlib.metadata.requires("stemworks") or []:
        wanted = Requirement(line)
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            found = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(wanted.name, "wrong", "not installed", "run 'make setup'")
            continue
        if not wanted.specifier.contains(found, prereleases=True):
            harm = HARM.get(wanted.name, "")
            yield Finding(
                wanted.name, "wrong", f"{found}, not {wanted.specifier}{harm}", "run 'make setup'"
            )
        elif wanted.name in ("prefect", "fastapi", "sqlalchemy", "torch"):
            yield Finding(wanted.name, "ok", found)


def _programs() -> Iterator[Finding]:
    for name in ("ffmpeg", "ffprobe"):
        path = shutil.which(name)
        yield Finding(
            name,
            "ok" if path else "note",
            path or "not on the PATH",
            "" if path else "only --set evaluation.museval=true needs it: apt-get install ffmpeg",
        )


def _disk(home: Home) -> Finding:
    existing = next(path for path in [home.root, *home.root.parents] if path.exists())
    free = shutil.disk_usage(existing).free
    roomy = free > COMFORT_BYTES
    remedy = "" if roomy else "free some space, or use another --home"
    return Finding("disk", "ok" if roomy else "note", f"{free / GIGABYTE:.0f} GB free", remedy)


def _processors() -> Finding:
    return Finding("processors", "ok", f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}")


def _gpu() -> Finding:
    """Ask torch in a child process: this layer does not know it."""
    question = (
        "import torch; n = torch.cuda.device_count(); "
        "print(', '.join(torch.cuda.get_device_name(i) for i in range(n)))"
    )
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", question],
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or ["torch does not import"])[-1]
        return Finding("GPU", "wrong", last, "run 'make setup'")
    names = answer.stdout.strip()
    remedy = "" if names else "training runs on the CPU: enough for demo and real_tiny"
    return Finding("GPU", "ok" if names else "note", names or "none", remedy)


def _server() -> Finding:
    given = os.environ.get("PREFECT_API_URL")
    if given:
        alive = server.answers(given)
        remedy = "" if alive else "start it, or unset PREFECT_API_URL"
        return Finding("Prefect server", "ok" if alive else "wrong", given, remedy)
    place = ServerSettings.from_environment()
    if server.running(place):
        return Finding("Prefect server", "ok", f"{place.address}/v2")
    if server.port_taken(place):
        return Finding(
            "Prefect server",
            "wrong",
            f"port {place.port} is in use by another program",
            "end it, or choose another with STEMWORKS_SERVER_PORT",
        )
    return Finding("Prefect server", "ok", "not running", "the next run starts it")


def _guard() -> Iterator[Finding]:
    """Say who reaches our own server, and whether it asks them for a password."""
    if os.environ.get("PREFECT_API_URL"):
        return
    place, name = ServerSettings.from_environment(), "server's password"
    try:
        require_password(place)
    except ConfigError as error:
        found, _, remedy = str(error).partition("; ")
        yield Finding(name, "wrong", found, remedy)
        return
    wanted = bool(os.environ.get(PASSWORD))
    if server.running(place) and _asks(place) not in (wanted, None):
        now, then = ("set", "was not") if wanted else ("not set", "was")
        found = f"{PASSWORD} is {now}, and {then} when the server started"
        yield Finding(
            name, "wrong", found, "set it as it was; or 'stemworks down', and begin again"
        )
        return
    reach = "this machine alone" if place.is_private else "other machines, too"
    asked = "set" if wanted else "none"
    yield Finding(name, "ok", f"{asked}; {place.host} is reached from {reach}")


def _asks(place: ServerSettings) -> bool | None:
    """Say whether the server that runs refuses whoever gives no password; None: it is away."""
    try:
        with urllib.request.urlopen(f"{place.address}/api/admin/version", timeout=5):
            return False
    except urllib.error.HTTPError as error:
        return error.code == http.client.UNAUTHORIZED
    except OSError:
        return None


def _schedules() -> Iterator[Finding]:
    """Look whether what is to run by itself will: on a running server, runs are planned ahead."""
    given = os.environ.get("PREFECT_API_URL")
    if not (server.answers(given) if given else server.running(ServerSettings.from_environment())):
        return
    server.connect()
    # Prefect reads its settings when it is imported.
    from prefect.client.orchestration import get_client  # noqa: PLC0415

    from flows.deploy.schedule_health import upcoming  # noqa: PLC0415

    try:
        with get_client(sync_client=True) as client:
            found = upcoming(client)
    except httpx.HTTPStatusError as error:
        name = "PREFECT_API_AUTH_STRING" if given else PASSWORD
        said = f"the server does not tell: it answers {error.response.status_code}"
        yield Finding("schedules", "wrong", said, f"if that is 401, set {name}; else see its log")
        return
    dead = [name for name, when in found.items() if when is None]
    if dead:
        yield Finding(
            "schedules",
            "wrong",
            f"of {', '.join(dead)} no run is ahead",
            f"see the server's log, such as {ServerSettings.from_environment().log}, for its "
            "scheduler; a run more than 100 days ahead is not planned yet",
        )
        return
    nearest = min((when for when in found.values() if when), default=None)
    said = f"{len(found)}, the next run at {nearest:%Y-%m-%d %H:%M %Z}" if nearest else "none"
    yield Finding("schedules", "ok", said)

"""`doctor`: whether this machine can run a study. Each check gives what, the finding, a remedy."""

import http.client
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal, NamedTuple

import typer
from rich.text import Text

from flows.cli.machine.fit import fit as show_fit
from flows.cli.options import AsJson, HomeAt
from flows.cli.output import View, stdout_view, table_of
from flows.cli.views import statuses_of
from flows.server import server
from flows.server.settings import PASSWORD, ServerSettings, require_password
from flows.studies.disk_space import needs, shortage
from storage.environment import SERVER_PORT
from storage.errors import ConfigError, MachineError
from storage.files import free_bytes
from storage.home.layout import Home
from storage.home.open import open_home

app = typer.Typer()
GIGABYTE = 1e9
COMFORT_BYTES = 5e9
"""Free space below which only the smallest studies fit."""

HARM = {
    "sqlalchemy": ": everything seems to work, but schedules silently never fire",
    "fastapi": ": the Prefect server cannot start",
}
"""What versions break that this Prefect does not support."""
COLOURS = {"ok": "green", "note": "yellow", "wrong": "red"}


Verdict = Literal["ok", "note", "wrong"]


class Finding(NamedTuple):
    """What one check found."""

    name: str
    verdict: Verdict
    found: str
    remedy: str = ""


@app.command()
def doctor(
    home: HomeAt = "home",
    fit: Annotated[
        str,
        typer.Option(
            metavar="RECIPE",
            help="Measure the batch that fits of it, or of its file; or of small, medium, large.",
        ),
    ] = "",
    memory_gb: Annotated[
        float,
        typer.Option(
            min=0, metavar="GB", help="With --fit: on the CPU, within this much; 0: on the GPU."
        ),
    ] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Check this machine, or measure what fits. Programs, versions, disk, server, GPU."""
    if fit:
        show_fit(fit, memory_gb, stdout_view(as_json))
    elif memory_gb:
        raise ConfigError("--memory-gb is of --fit alone: give --fit RECIPE, too")
    else:
        examine(open_home(home), stdout_view(as_json))


def examine(home: Home, view: View) -> None:
    """Check everything and show it.

    Raises:
        MachineError: something is wrong; names it.
    """
    findings = check_all(home)
    rows = [
        (finding.name, Text(finding.verdict, COLOURS[finding.verdict]), *finding[2:])
        for finding in findings
    ]
    view.show(
        [finding._asdict() for finding in findings],
        table_of("This machine", ("what", "", "found", "remedy"), rows),
    )
    wrong = [finding for finding in findings if finding.verdict == "wrong"]
    if wrong:
        raise MachineError("; ".join(f"{one.name}: {one.found}; {one.remedy}" for one in wrong))


def check_all(home: Home) -> list[Finding]:
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
    from packaging.requirements import Requirement

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
    """Compare what is free with what the home's unfinished studies still write."""
    free = free_bytes(home.root)
    lacking = [
        f"study '{name}': {text}"
        for name, statuses in statuses_of(home).items()
        if (text := shortage(needs(home, statuses)))
    ]
    remedy = "; ".join(lacking)
    if not remedy and free <= COMFORT_BYTES:
        remedy = "free some space, or use another --home"
    verdict: Verdict = "note" if remedy else "ok"
    return Finding("disk", verdict, f"{free / GIGABYTE:.0f} GB free", remedy)


def _processors() -> Finding:
    return Finding("processors", "ok", f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}")


def _gpu() -> Finding:
    """Ask torch in a child process: only `training` imports it."""
    code = (
        "import torch; n = torch.cuda.device_count(); "
        "print(', '.join(torch.cuda.get_device_name(i) for i in range(n)))"
    )
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
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
    settings = ServerSettings.from_environment()
    if server.running(settings):
        return Finding("Prefect server", "ok", f"{settings.address}/v2")
    if server.port_taken(settings):
        return Finding(
            "Prefect server",
            "wrong",
            f"port {settings.port} is in use by another program",
            f"stop it, or choose another port with {SERVER_PORT.name}",
        )
    return Finding("Prefect server", "ok", "not running", "the next run starts it")


def _guard() -> Iterator[Finding]:
    """Check who can reach our own server, and whether it asks for a password."""
    if os.environ.get("PREFECT_API_URL"):
        return
    settings, name = ServerSettings.from_environment(), "server's password"
    try:
        require_password(settings)
    except ConfigError as error:
        found, _, remedy = str(error).partition("; ")
        yield Finding(name, "wrong", found, remedy)
        return
    wanted = bool(os.environ.get(PASSWORD))
    if server.running(settings) and _asks_for_password(settings) not in (wanted, None):
        now, then = ("set", "was not") if wanted else ("not set", "was")
        found = f"{PASSWORD} is {now}, and {then} when the server started"
        yield Finding(
            name, "wrong", found, "set it as it was; or 'stemworks down', then start again"
        )
        return
    reach = "this machine only" if settings.is_private else "other machines, too"
    asked = "set" if wanted else "none"
    yield Finding(name, "ok", f"{asked}; {settings.host} can be reached from {reach}")


def _asks_for_password(settings: ServerSettings) -> bool | None:
    """Return whether the server refuses requests without a password; None: it does not answer."""
    try:
        with urllib.request.urlopen(f"{settings.address}/api/admin/version", timeout=5):
            return False
    except urllib.error.HTTPError as error:
        return error.code == http.client.UNAUTHORIZED
    except OSError:
        return None


def _schedules() -> Iterator[Finding]:
    """Check that schedules will fire: a healthy server plans their runs ahead."""
    given = os.environ.get("PREFECT_API_URL")
    if not (server.answers(given) if given else server.running(ServerSettings.from_environment())):
        return
    server.connect()
    # Prefect reads its settings when it is imported.
    import httpx
    from prefect.client.orchestration import get_client

    from flows.deploy.schedule_health import off_the_clock, upcoming

    try:
        with get_client(sync_client=True) as client:
            next_runs, off = upcoming(client), off_the_clock(client)
    except httpx.HTTPStatusError as error:
        name = "PREFECT_API_AUTH_STRING" if given else PASSWORD
        found = f"the server answers {error.response.status_code}"
        remedy = f"if that is 401, set {name}; otherwise see the server's log"
        yield Finding("schedules", "wrong", found, remedy)
        return
    yield _firing(next_runs, off)


def _firing(next_runs: Mapping[str, datetime | None], off: Sequence[str]) -> Finding:
    """Judge when each schedule fires next, and name those that are off the clock."""
    dead = [name for name, when in next_runs.items() if when is None]
    if dead:
        return Finding(
            "schedules",
            "wrong",
            f"no next run is planned of {', '.join(dead)}",
            f"see the server's log, such as {ServerSettings.from_environment().log}, for its "
            "scheduler; a run more than 100 days ahead is not planned yet",
        )
    if off:
        return Finding(
            "schedules",
            "note",
            f"at other times than they say: {', '.join(off)}",
            "deploy them again: days and weeks then go by the local clock, and cron has 5 fields",
        )
    nearest = min((when for when in next_runs.values() if when), default=None)
    found = f"{len(next_runs)}, the next run at {nearest:%Y-%m-%d %H:%M %Z}" if nearest else "none"
    return Finding("schedules", "ok", found)

"""The services of a cluster as real processes on loopback: PostgreSQL, Redis, a Prefect server.

Each is a context manager that yields something which can be killed and started again, with its data
kept. A test that needs a program which is not there is skipped, and says what to install.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

READY_SECONDS = 120.0
PASSWORD = "a-database-password-that-appears-nowhere-else"
AUTH_STRING = "works:an-api-password-that-appears-nowhere-else"

Ready = Callable[[], bool]


@dataclass
class Service:
    """A process that can be lost and come back."""

    name: str
    command: Sequence[str]
    ready: Ready
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    folder: Path = Path("/")
    """Where it runs, and where its log is, as `NAME.log`."""
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def start(self) -> None:
        """Start it and wait until it answers; one that ends at once is started again."""
        deadline = time.monotonic() + READY_SECONDS
        self._start()
        while not self.ready():
            assert time.monotonic() < deadline, self.log.read_text()[-4000:]
            time.sleep(0.1)
            # What a killed one left, as PostgreSQL's shared memory, may be there for a moment more.
            if self.process is not None and self.process.poll() is not None:
                self._start()

    def _start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, **self.environment},
                user=self.user,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Lose it as with its machine: SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as an operator does."""
        self._end(signal.SIGINT if self.name == "postgres" else signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


@dataclass
class Postgres(Service):
    """A database for Prefect."""

    url: str = ""
    """As PREFECT_SERVER_DATABASE_CONNECTION_URL takes it."""


@dataclass
class Redis(Service):
    """What several Prefect servers pass their messages through."""

    port: int = 0

    @property
    def settings(self) -> dict[str, str]:
        """Environment that has a Prefect server use it for all that servers share."""
        return {
            "PREFECT_MESSAGING_BROKER": "prefect_redis.messaging",
            "PREFECT_MESSAGING_CACHE": "prefect_redis.messaging",
            "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
            "PREFECT_REDIS_MESSAGING_HOST": "127.0.0.1",
            "PREFECT_REDIS_MESSAGING_PORT": str(self.port),
            "PREFECT_REDIS_MESSAGING_DB": "0",
            "PREFECT_SERVER_DOCKET_URL": f"redis://127.0.0.1:{self.port}/1",
        }


@dataclass
class PrefectServer(Service):
    """The API and the UI; and beside them the services, where these are a process of their own."""

    api: str = ""
    auth: str = ""
    services: Service | None = None

    @property
    def client(self) -> dict[str, str]:
        """Environment of those that use it."""
        given = {"PREFECT_API_AUTH_STRING": self.auth} if self.auth else {}
        return {"PREFECT_API_URL": self.api, "DO_NOT_TRACK": "1", **given}


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run PostgreSQL with an empty database; yield it. It refuses root, and has a user for that."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=_version)
    if not found:
        pytest.skip("there is no PostgreSQL; install it with: apt-get install postgresql")
    user = None if os.geteuid() else "postgres"
    port, binaries = free_port(), found[-1].parent
    with _folder("postgres", user) as folder:
        (folder / "password").write_text(PASSWORD)
        made = subprocess.run(
            [str(binaries / "initdb"), "--pgdata", str(folder / "data"), "--username=prefect",
             "--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--no-sync", "--no-locale",
             "--encoding=UTF8"],
            cwd=folder, user=user, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        quick = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
        words = [str(binaries / "postgres"), "-D", str(folder / "data"), "-h", "127.0.0.1"]
        words += ["-p", str(port), "-k", str(folder), *(f"-c{setting}" for setting in quick)]
        check = [str(binaries / "pg_isready"), "--quiet", "--host=127.0.0.1", f"--port={port}"]

        def ready() -> bool:
            return subprocess.run(check, check=False).returncode == 0

        url = f"postgresql+asyncpg://prefect:{PASSWORD}@127.0.0.1:{port}/postgres"
        service = Postgres("postgres", words, ready, user=user, folder=folder, url=url)
        with _running(service):
            yield service


@contextmanager
def redis() -> Iterator[Redis]:
    """Run Redis, which keeps nothing when it ends; yield it."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no Redis; install it with: apt-get install redis-server")
    port = free_port()
    words = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with _folder("redis") as folder:
        service = Redis("redis", words, lambda: listens(port), folder=folder, port=port)
        with _running(service):
            yield service


@contextmanager
def prefect_server(
    database: Postgres, queue: Redis | None = None, auth: str = "", port: int = 0
) -> Iterator[PrefectServer]:
    """Run a Prefect server on these services; yield it.

    With Redis it is two processes, as `docker/compose.yaml` has it: one that answers, and one that
    schedules, marks the late and runs automations.
    """
    port = port or free_port()
    api = f"http://127.0.0.1:{port}/api"
    with _folder("prefect") as folder:
        given = {
            "PREFECT_HOME": str(folder),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database.url,
            "PREFECT_SERVER_API_HOST": "127.0.0.1",
            "PREFECT_SERVER_API_PORT": str(port),
            **({"PREFECT_SERVER_API_AUTH_STRING": auth} if auth else {}),
            "PREFECT_API_URL": api,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            **(queue.settings if queue else {}),
        }
        prefect = [sys.executable, "-m", "prefect", "server"]
        server = PrefectServer(
            "server", [*prefect, "start"], lambda: answers(f"{api}/ready"), given, folder=folder,
            api=api, auth=auth,
        )  # fmt: skip
        if queue is None:
            with _running(server):
                yield server
            return
        server.command = [*server.command, "--no-services"]
        words, log = [*prefect, "services", "start"], folder / "services.log"
        server.services = Service("services", words, lambda: begun(log), given, folder=folder)
        # The tables are made by whoever comes first; two at once would be in each other's way.
        with _running(server), _running(server.services):
            yield server


def begun(log: Path) -> bool:
    """Say whether Prefect's services have said that they run."""
    return log.exists() and "Starting service" in log.read_text()


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Say whether something listens on a port of loopback."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(url: str) -> bool:
    """Say whether an address answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@contextmanager
def _running(service: Service) -> Iterator[None]:
    service.start()
    try:
        yield
    finally:
        service.stop()


@contextmanager
def _folder(name: str, user: str | None = None) -> Iterator[Path]:
    """Make a folder that another user can reach and own: pytest's are the caller's alone."""
    folder = Path(tempfile.mkdtemp(prefix=f"stemworks-{name}-"))
    if user:
        shutil.chown(folder, user)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _version(program: Path) -> int:
    return int(program.parents[1].name)

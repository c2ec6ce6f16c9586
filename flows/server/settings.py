"""Where this user's Prefect server keeps its state, and the settings that it shares with clients.

Anyone who can reach a Prefect server can have its workers run any code: so it listens on loopback,
or asks for a password, which is kept in the environment and nowhere else.
Nothing here imports Prefect, which reads its settings from the environment when it is imported.
"""

import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from storage.environment import SERVER_HOST, SERVER_PORT, STATE
from storage.errors import ConfigError

LOOPBACK, ALL_INTERFACES = "127.0.0.1", ("0.0.0.0", "::")
PASSWORD = "PREFECT_SERVER_API_AUTH_STRING"
"""The environment variable that holds the password, as `user:password`."""
HEARTBEAT_SECONDS = 30
"""Between two heartbeats that a run sends to a server on PostgreSQL."""
LEASE_STORAGE = "prefect.server.concurrency.lease_storage.filesystem"
"""Where the server keeps the leases of slots; in memory they would be lost when it restarts."""
RETENTION_DAYS = 90
"""For which the server keeps finished runs, their logs and artifacts."""


@dataclass(frozen=True)
class ServerSettings:
    """Where this user's server keeps its state and listens, from the environment."""

    state: Path
    """The folder of the server's database and log, and of heartbeats."""
    host: str
    port: int

    @classmethod
    def from_environment(cls) -> "ServerSettings":
        """Read the environment; raise `MachineError` if the port is not valid."""
        return cls(STATE.read(), SERVER_HOST.read(), SERVER_PORT.read())

    @property
    def address(self) -> str:
        """The server's address without a path, as this machine reaches it."""
        host = LOOPBACK if self.host in ALL_INTERFACES else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def is_private(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def public_address(self) -> str:
        """The server's address without a path, as browsers on other machines reach it."""
        named = f"http://{socket.getfqdn()}:{self.port}"
        return named if self.host in ALL_INTERFACES else self.address

    @property
    def record(self) -> Path:
        """File that names the server's process."""
        return self.state / "server.json"

    @property
    def log(self) -> Path:
        """File of the server's output."""
        return self.state / "server.log"

    @property
    def run_heartbeats(self) -> Path:
        """Folder of heartbeats of the flow runs that processes of this machine execute."""
        return self.state / "live-runs"

    @property
    def runner_heartbeats(self) -> Path:
        """Folder of heartbeats of this machine's runners and workers."""
        # Both folders keep the names of the first release: a run that crashed before an upgrade
        # is found after it.
        return self.state / "takers"

    @property
    def slot_heartbeats(self) -> Path:
        """Folder of heartbeats of the runs that hold slots of this machine's limits."""
        return self.state / "slots"


def shared_environment(server: ServerSettings) -> dict[str, str]:
    """Return the environment variables that the server and its clients share."""
    return (
        {
            "PREFECT_HOME": str(server.state / "prefect"),
            "PREFECT_API_URL": f"{server.address}/api",
            # Without this, the links that Prefect prints lead to the old UI.
            "PREFECT_UI_URL": f"{server.address}/v2",
            # As options instead, host and port would not reach the UI, which cannot connect then.
            "PREFECT_SERVER_API_HOST": server.host,
            "PREFECT_SERVER_API_PORT": str(server.port),
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASE_STORAGE,
            "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
            "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(RETENTION_DAYS * 86400),
        }
        | password_environment(server)
        | (heartbeat_environment() if database() == "postgresql" else {})
        | client_environment()
    )


def password_environment(server: ServerSettings) -> dict[str, str]:
    """Return the variables that make server and clients use the password; none without one."""
    password = os.environ.get(PASSWORD, "")
    if not password:
        return {}
    ui = f"{server.address}/v2"
    if not server.is_private:
        # Behind a TLS proxy, PREFECT_UI_URL gives the proxy's address.
        ui = os.environ.get("PREFECT_UI_URL", f"{server.public_address}/v2")
    origin = "/".join(ui.split("/")[:3])
    return {
        PASSWORD: password,
        "PREFECT_API_AUTH_STRING": password,
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origin,
        "PREFECT_SERVER_UI_API_URL": f"{origin}/api",
        "PREFECT_UI_URL": ui,
    }


def heartbeat_environment() -> dict[str, str]:
    """Return the variables that make runs send heartbeats to the server."""
    return {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS)}


def database() -> Literal["postgresql", "sqlite"] | None:
    """Return which database the server uses; None for a server that we did not start."""
    given = os.environ.get("PREFECT_SERVER_DATABASE_CONNECTION_URL", "")
    if not given and os.environ.get("PREFECT_API_URL", "") not in ("", _own_api()):
        return None
    return "postgresql" if given.startswith("postgresql") else "sqlite"


def _own_api() -> str:
    return f"{ServerSettings.from_environment().address}/api"


def client_environment() -> dict[str, str]:
    """Return the variables of any client: many retries, no telemetry, no logs on the console."""
    return {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        # A busy SQLite answers 503 for a minute; one failed request must not end a run of days.
        "PREFECT_CLIENT_MAX_RETRIES": "7",
    }


def require_password(server: ServerSettings) -> None:
    """Raise `ConfigError` if other machines could use the server without a password."""
    password = os.environ.get(PASSWORD, "")
    if password and ":" not in password:
        raise ConfigError(f"{PASSWORD} has no user name; set it to user:password")
    if not (password or server.is_private):
        raise ConfigError(
            f"the Prefect server would listen on {server.host} without a password, and anyone who "
            f"reaches it could run code on this machine; set {PASSWORD}=user:password in the "
            f"environment, or set {SERVER_HOST.name} to {LOOPBACK}"
        )

"""Where the Prefect server of this user lives, and the settings that it and its clients share.

Whoever reaches a Prefect server can have its workers run any code: so it listens on loopback, or
asks for a password, which is in the environment and nowhere else.
Nothing here imports Prefect, whose settings are read from the environment when it is imported.
"""

import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from storage.errors import ConfigError, MachineError

LOOPBACK, EVERYWHERE = "127.0.0.1", ("0.0.0.0", "::")
PASSWORD = "PREFECT_SERVER_API_AUTH_STRING"
"""The variable that holds it, as `user:password`."""
HEARTBEAT_SECONDS = 30
"""Between two signs of life of a run, where the server looks for them."""
LEASES = "prefect.server.concurrency.lease_storage.filesystem"  # else lost with the server
KEPT_DAYS = 90
"""For which the server keeps the runs that ended, their logs and artifacts."""


@dataclass(frozen=True)
class ServerSettings:
    """Where the server of this user lives, by environment."""

    state: Path
    """STEMWORKS_STATE: the server's database and log, and notes on live runs."""
    host: str
    """STEMWORKS_SERVER_HOST."""
    port: int
    """STEMWORKS_SERVER_PORT."""

    @classmethod
    def from_environment(cls) -> "ServerSettings":
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

    @property
    def takers(self) -> Path:
        """Folder of notes on the processes of this machine that take up deployed runs."""
        return self.state / "takers"


def settings(place: ServerSettings) -> dict[str, str]:
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


def guard(place: ServerSettings) -> dict[str, str]:
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
    return f"{ServerSettings.from_environment().address}/api"


def quiet() -> dict[str, str]:
    """Return the settings of any server's client: patient, without telemetry, off the console."""
    return {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        # A busy SQLite answers 503 for a minute; one lost answer must not end a run of days.
        "PREFECT_CLIENT_MAX_RETRIES": "7",
    }


def require_guard(place: ServerSettings) -> None:
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

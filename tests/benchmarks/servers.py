"""Prefect servers on either database, each with what is asked of it from outside."""

import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from flows.server.settings import ServerSettings
from storage.files import read_json
from tests.flows.conftest import Works
from tests.services import free_port, postgres, prefect_server


@dataclass(frozen=True)
class Served:
    """A Prefect server with a database of some kind."""

    kind: str
    works: Works
    environment: dict[str, str]
    size: Callable[[], int]
    """Bytes of the database."""
    pid: int


@contextmanager
def sqlite(folder: Path) -> Iterator[Served]:
    """Run the server that the command line starts by itself."""
    works = Works(folder, free_port(), folder)
    place = ServerSettings(folder, "127.0.0.1", works.port)

    def size() -> int:
        with sqlite3.connect(f"file:{folder}/prefect/prefect.db?mode=ro", uri=True) as database:
            pages, each = (
                database.execute(f"pragma {name}").fetchone()[0]
                for name in ("page_count", "page_size")
            )
        return int(pages * each)

    try:
        # One that starts too slowly for the command is there nevertheless, and must be stopped.
        answer = works("ui")
        if answer.returncode:
            raise RuntimeError(answer.stderr)
        yield Served("SQLite", works, works.environment, size, int(read_json(place.record)["pid"]))
    finally:
        works("down")


@contextmanager
def on_postgres(folder: Path) -> Iterator[Served]:
    """Run a server on PostgreSQL."""
    with ExitStack() as stack:
        store = stack.enter_context(postgres())
        server = stack.enter_context(prefect_server(store))
        works = Works(folder, urlsplit(server.api).port or 0, folder)
        question = "select pg_database_size(current_database())"
        ask = ["psql", store.url.replace("+asyncpg", ""), "-tAc", question]

        def size() -> int:
            return int(subprocess.run(ask, check=True, capture_output=True, text=True).stdout)

        assert server.process
        environment = works.environment | server.client
        yield Served("PostgreSQL", works, environment, size, server.process.pid)

"""Packing and training on two hosts through one bucket, and on one host, to compare."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from storage.home.layout import Home
from tests import synthesised
from tests.bucket import bucket, moto_server
from tests.two_hosts import GATEWAY, Host

PORT = 18786
TINY = (
    "synthesis=null", "fma.archive=fma_tiny.zip", "fma.metadata=fma_tiny_metadata.zip",
    "fma.unit_tracks=1", "fma.error_budget=0.5", "pretraining.loop.log_every=1",
)  # fmt: skip


def archives(folder: Path) -> Path:
    """Synthesise the tiny archive."""
    folder.mkdir()
    synthesised.write_fma(folder)
    return folder


def order(flow: str, home: str, archives: Path, *settings: str) -> list[str]:
    """Return the command that runs a flow of the smoke recipe on the tiny archive."""
    given = [*TINY, f"data.root={archives}", *settings]
    overrides = [word for setting in given for word in ("--set", setting)]
    return [
        sys.executable,
        "-m",
        "flows",
        "run",
        flow,
        "--recipe",
        "smoke",
        "--home",
        home,
        *overrides,
    ]


@contextmanager
def store() -> Iterator[str]:
    """Run an S3 server that both hosts reach; yield the address of an empty home."""
    with moto_server(GATEWAY) as endpoint, bucket(endpoint) as url:
        yield url


@contextmanager
def cluster(one: Host, two: Host, folder: Path) -> Iterator[str]:
    """Run a Dask scheduler on one host and a worker on each; yield the scheduler's address."""
    address = f"tcp://{one.address}:{PORT}"
    dask = [sys.executable, "-m", "dask"]
    serve = ["scheduler", "--host", one.address, "--port", str(PORT), "--no-dashboard"]
    work = ["worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    started = [
        one.start(folder / "scheduler.log", *dask, *serve),
        one.start(folder / "one.log", *dask, *work),
        two.start(folder / "two.log", *dask, *work),
    ]
    try:
        wait_for(folder / "one.log", "Registered to", started)
        wait_for(folder / "two.log", "Registered to", started)
        yield address
    finally:
        for process in started:
            process.kill()
            process.wait()


def wait_for(log: Path, said: str, processes: "list[subprocess.Popen[bytes]]") -> None:
    """Wait until a log says something."""
    deadline = time.monotonic() + 120
    while said not in log.read_text():
        assert all(process.poll() is None for process in processes), log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def packers(home: Home) -> set[str]:
    """Return the names of the hosts that packed units."""
    marks = home.store.listing("marks/pack")
    return {json.loads(home.store.read(name))["built_by"]["host"] for name in marks}


def shards(home: Home) -> dict[str, bytes]:
    """Return the bytes of every shard by its name."""
    names = [name for name in home.store.listing("fma") if name.endswith(".tar")]
    return {Path(name).name: home.store.read(name) for name in names}


def losses(home: Home) -> list[tuple[int, float]]:
    """Return step and loss of each step that pre-training logged."""
    [name] = [name for name in home.store.listing("runs") if name.endswith("/metrics.jsonl")]
    rows: list[dict[str, Any]] = [
        json.loads(line) for line in home.store.read(name).decode().splitlines()
    ]
    return [(row["step"], row["loss"]) for row in rows if row["kind"] == "train"]

"""S3 servers on loopback, and homes in their buckets.

Use: a session's fixture around one of `SERVERS`, and `with bucket(endpoint) as url:` in each test.
moto's keeps all conditions of writes, localbucket's `If-None-Match` alone and no metadata, and
rclone's none.
"""

import itertools
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.services import Service, free_port, listens

ACCESS_KEY = "AKIAEXAMPLEOFNOBODY1"
SECRET_KEY = "a-secret-key-that-appears-nowhere/else"
SESSION_TOKEN = "a-session-token-that-appears-nowhere/either"

_numbers = itertools.count(1)


@contextmanager
def moto_server(address: str = "127.0.0.1") -> Iterator[str]:
    """Run moto's server in a thread; yield its endpoint."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - half a second

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address=address, port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def localbucket_server() -> Iterator[str]:
    """Run localbucket, which keeps objects as files, in a process; yield its endpoint."""
    pytest.importorskip("localbucket", reason="localbucket is not installed: run 'make setup'")
    port = free_port()
    command = [sys.executable, "-m", "localbucket", "--port", str(port)]
    with _serving("localbucket", command, port) as endpoint:
        yield endpoint


@contextmanager
def rclone_server() -> Iterator[str]:
    """Run `rclone serve s3` in a process; yield its endpoint."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    if not (program := shutil.which("rclone", path=places)):
        pytest.skip("rclone is not installed: run 'make setup'")
    port = free_port()
    words = ["serve", "s3", "--config", os.devnull, "--addr", f"127.0.0.1:{port}"]
    with _serving("rclone", [program, *words], port) as endpoint:
        yield endpoint


@contextmanager
def _serving(name: str, command: list[str], port: int) -> Iterator[str]:
    """Run a server of a new folder, which its command ends with."""
    with tempfile.TemporaryDirectory(prefix=f"stemworks-{name}-") as folder:
        data = Path(folder, "data")
        data.mkdir()
        place = Path(folder)
        server = Service(name, [*command, str(data)], lambda: listens(port), folder=place)
        server.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.stop()


SERVERS: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "moto": moto_server,
    "localbucket": localbucket_server,
    "rclone": rclone_server,
}
"""By name."""


@contextmanager
def bucket(endpoint: str, prefix: str = "home") -> Iterator[str]:
    """Make an empty bucket; yield `s3://bucket/prefix`, which child processes can open too.

    The environment holds the dummy credentials and the endpoint until the end, and is then as
    before.
    """
    from storage.stores.s3.client import client  # noqa: PLC0415 - half a second

    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        patch.setenv("AWS_SESSION_TOKEN", SESSION_TOKEN)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("STEMWORKS_S3_ENDPOINT", endpoint)
        name = f"stems-{os.getpid()}-{next(_numbers)}"
        client().create_bucket(Bucket=name)
        yield f"s3://{name}/{prefix}"

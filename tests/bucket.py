"""A real S3 server on loopback, and homes in its buckets.

Use: a session's fixture around `moto_server()`, and `with bucket(endpoint) as url:` in each test.
"""

import itertools
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

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

"""An S3 server for the tests of this room, with and without the fault proxy before it."""

from collections.abc import Iterator

import pytest
from botocore.retries.standard import ExponentialBackoff

from storage.retry_policy import RetryPolicy
from storage.stores.s3 import BucketStore
from tests.bucket import bucket, localbucket_server, moto_server, rclone_server
from tests.fault_proxy import Rules, fault_proxy


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    with moto_server() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def localbucket_endpoint() -> Iterator[str]:
    with localbucket_server() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def rclone_endpoint() -> Iterator[str]:
    with rclone_server() as endpoint:
        yield endpoint


@pytest.fixture
def home_url(s3_endpoint: str) -> Iterator[str]:
    """An empty home in a bucket of its own."""
    with bucket(s3_endpoint) as url:
        yield url


@pytest.fixture(scope="session")
def proxied(s3_endpoint: str) -> Iterator[tuple[str, Rules]]:
    with fault_proxy(s3_endpoint) as proxy:
        yield proxy


@pytest.fixture
def faulty(
    proxied: tuple[str, Rules], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[BucketStore, Rules]]:
    """A store in an empty bucket behind the fault proxy, and its rules; pauses are short."""
    monkeypatch.setattr(RetryPolicy, "wait_seconds", lambda *_: 0.001)
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0.001)
    endpoint, rules = proxied
    rules.faults.clear()
    rules.conditional = True
    with bucket(endpoint) as url:
        rules.requests.clear()
        yield BucketStore(url), rules
    rules.faults.clear()

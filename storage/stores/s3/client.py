"""The one S3 client of a process.

`S3_ENDPOINT` and `S3_CHECKSUMS` of `storage/environment.py` say which server it asks, and how.

Every write carries a SHA256 that the server checks and every whole read is compared with the one
stored beside the object, so botocore's own checksums add nothing, and their trailers are what some
servers cannot read, or store as part of the object.
"""

import logging
import os
import threading
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
from botocore.config import Config as ClientConfig
from botocore.exceptions import ConnectionError as UnreachableError
from botocore.exceptions import HTTPClientError

from storage.environment import S3_CHECKSUMS, S3_ENDPOINT, Checksums
from storage.errors import ConfigError
from storage.retry_policy import RetryPolicy

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ResponseMetadataTypeDef

RETRIES = RetryPolicy(
    first_seconds=0.4,
    longest_seconds=20.0,
    spread=1.0,
    progress_bytes=1 << 18,
    connect_seconds=10.0,
)
"""A bucket answers faster than an archive server, and many processes ask it at once."""
CONNECTIONS = 32
"""Open connections of a process at most."""

TRANSIENT = frozenset({429, 500, 502, 503, 504})
"""HTTP statuses after which another attempt may succeed."""

ENDPOINTS = (S3_ENDPOINT.name, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
# At DEBUG they log every header of a request, and a session's token is one.
TALKATIVE = ("boto3", "botocore", "urllib3", "s3transfer")

_lock = threading.Lock()
_clients: dict[tuple[int, "Settings"], "S3Client"] = {}


class Settings(NamedTuple):
    """The server's settings from the environment."""

    endpoint: str
    checksums: Checksums


def settings() -> Settings:
    """Read the environment.

    Raises:
        ConfigError: the endpoint is no http(s) URL or has a user; the checksum mode is unknown.
    """
    name = next((name for name in ENDPOINTS if os.environ.get(name)), "")
    endpoint = os.environ.get(name, "")
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise ConfigError(
            f"{name} is not an http(s) URL; give one such as https://storage.example.org"
        )
    if "@" in endpoint or "?" in endpoint:
        raise ConfigError(
            f"{name} has a user or a query; give the URL alone and set AWS_ACCESS_KEY_ID"
        )
    return Settings(endpoint, S3_CHECKSUMS.read())


def client() -> "S3Client":
    """Return this process's client; it may be shared by threads, never by processes."""
    key = (os.getpid(), settings())
    with _lock:
        if key not in _clients:
            _clients[key] = _made(key[1])
        return _clients[key]


def quoted(version: str) -> str:
    """Return an ETag as a condition carries it."""
    return f'"{version}"'


def unquoted(etag: str) -> str:
    """Return an ETag in the one form that every answer shares."""
    return etag.strip('"')


def server_time(answer: "ResponseMetadataTypeDef") -> datetime:
    """Return when an answer was given by the server's clock; by ours if it says nothing."""
    date = answer["HTTPHeaders"].get("date", "")
    return parsedate_to_datetime(date) if date else datetime.now(UTC)


def _made(chosen: Settings) -> "S3Client":
    for logger in map(logging.getLogger, TALKATIVE):
        logger.setLevel(max(logging.INFO, logger.getEffectiveLevel()))
    # A server of one's own seldom has a host name for each bucket.
    style: dict[str, Any] = {"s3": {"addressing_style": "path"}} if chosen.endpoint else {}
    made = boto3.session.Session().client(
        "s3",
        endpoint_url=chosen.endpoint or None,
        config=ClientConfig(
            retries={"mode": "standard", "total_max_attempts": RETRIES.attempts},
            connect_timeout=RETRIES.connect_seconds,
            read_timeout=RETRIES.silence_seconds,
            max_pool_connections=CONNECTIONS,
            tcp_keepalive=True,
            request_checksum_calculation=chosen.checksums,
            response_checksum_validation=chosen.checksums,
            **style,
        ),
    )
    made.meta.events.register_last("needs-retry.s3", _insist)  # type: ignore[arg-type]
    return made


def _insist(
    response: tuple[Any, Any] | None, attempts: int, caught_exception: Exception | None, **_: object
) -> float | None:
    """Return after what pause to try again where botocore's standard mode gives up too early.

    That mode also stops at a quota of about a hundred retries per client, which grows back by
    success alone: after an outage that many threads sat out, the next lost connection would fail
    at its first attempt.
    """
    lost = isinstance(caught_exception, HTTPClientError | UnreachableError)
    failed = response is not None and response[0].status_code in TRANSIENT
    again = attempts < RETRIES.attempts and (lost or failed)
    return RETRIES.wait_seconds(attempts) if again else None


def _forget() -> None:
    """Start without clients in a forked child: sockets, and perhaps a held lock, are copies."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _clients.clear()


os.register_at_fork(after_in_child=_forget)

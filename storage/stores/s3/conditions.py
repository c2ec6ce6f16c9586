"""Whether a server supports conditional writes, tried once per bucket and process.

Some servers refuse conditional writes, and some ignore the condition and overwrite.
"""

import os
import secrets
import threading
from typing import NamedTuple

from botocore.exceptions import ClientError

from storage.stores.s3.address import BucketAddress, S3Address
from storage.stores.s3.client import client, quoted, server_time, settings
from storage.stores.s3.errors import REFUSED, UNKNOWN, answered, says

PROBES = ".probes"
"""Under a home's prefix, the folder of the short-lived objects of this test."""

_lock = threading.Lock()
_answers: dict[tuple[str, str], "Conditions"] = {}


class Conditions(NamedTuple):
    """Which conditions a server supports."""

    absent: bool
    """`If-None-Match: *`: write only if there is no object."""

    same: bool
    """`If-Match`: write only over the version that was seen."""


def conditions(address: BucketAddress) -> Conditions:
    """Return what a bucket's server supports; it is tried once."""
    key = (settings().endpoint, address.bucket)
    with _lock:
        if key not in _answers:
            _answers[key] = _asked(address.at(f"{PROBES}/{secrets.token_hex(8)}"))
        return _answers[key]


def old_objects(bucket: str, prefix: str, older_seconds: float) -> list[tuple[str, int]]:
    """Return key and size of objects that are this old, by the server's clock.

    A process that is killed while it tries a server leaves such an object.
    """
    found = []
    for page in client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        now = server_time(page["ResponseMetadata"])
        found += [
            (item["Key"], item["Size"])
            for item in page.get("Contents", [])
            if (now - item["LastModified"]).total_seconds() >= older_seconds
        ]
    return found


def _asked(address: S3Address) -> Conditions:
    with answered(address.url):
        try:
            client().put_object(Bucket=address.bucket, Key=address.key, Body=b"")
            return Conditions(
                absent=_refuses(address, {"IfNoneMatch": "*"}),
                same=_refuses(address, {"IfMatch": quoted("0" * 32)}),
            )
        finally:
            client().delete_object(Bucket=address.bucket, Key=address.key)


def _refuses(address: S3Address, condition: dict[str, str]) -> bool:
    try:
        client().put_object(Bucket=address.bucket, Key=address.key, Body=b"", **condition)  # type: ignore[arg-type]
    except ClientError as error:
        if says(error, REFUSED):
            return True
        if says(error, UNKNOWN):
            return False
        raise
    return False


def _forget() -> None:
    """Give a forked child a free lock: a thread of its parent may have held the old one."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget)

"""`s3://bucket/prefix`, parsed; secrets and ambiguous paths in it are refused."""

import re
from typing import NamedTuple

from storage.environment import S3_ENDPOINT
from storage.errors import ConfigError

BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
REMEDY = "give s3://bucket/prefix"


class S3Address(NamedTuple):
    """Where one object is."""

    bucket: str
    key: str

    @property
    def url(self) -> str:
        """Return the object's address, as messages name it."""
        return f"s3://{self.bucket}/{self.key}"


class BucketAddress(NamedTuple):
    """Where a home is: a bucket and the prefix of every key, without slashes around it."""

    bucket: str
    prefix: str

    @property
    def url(self) -> str:
        """Return the address in its one written form."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def at(self, name: str) -> S3Address:
        """Return where the object of a name is."""
        return S3Address(self.bucket, f"{self.prefix}/{name}".lstrip("/"))

    def name(self, key: str) -> str:
        """Return the name of the object of a key."""
        return key.removeprefix(f"{self.prefix}/" if self.prefix else "")


def parse(url: str) -> BucketAddress:
    """Parse a home's address.

    Raises:
        ConfigError: it is not valid. What may be a secret (a user, a query) is not repeated.
    """
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme.lower() != "s3":
        raise ConfigError(f"'{scheme}' is not the scheme of a bucket's address; {REMEDY}")
    if "@" in bucket or ":" in bucket:
        raise ConfigError(
            "the address of the home has a user, a key or a port before its bucket; remove it, "
            "give credentials by AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and "
            f"your own server by {S3_ENDPOINT.name}"
        )
    if set("?#") & set(rest):
        raise ConfigError(
            f"the address that begins s3://{re.split('[?#]', bucket)[0]} has a query or a fragment "
            f"('?' or '#'); {REMEDY} alone"
        )
    if not BUCKET.fullmatch(bucket):
        raise ConfigError(f"{url!r} has no valid bucket name ('{bucket}'); {REMEDY}")
    prefix = prefix.removesuffix("/")
    if {"", ".", ".."} & set(prefix.split("/")) and prefix:
        raise ConfigError(f"{url!r} has a part that is empty, '.' or '..'; {REMEDY}")
    if not prefix.isprintable() or "\\" in prefix:
        raise ConfigError(f"{url!r} has a backslash or a control character; {REMEDY}")
    return BucketAddress(bucket, prefix)

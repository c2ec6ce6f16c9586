"""`BucketStore`: a store in an S3 bucket."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from botocore.exceptions import ClientError

from storage.errors import LockedError
from storage.stores.base import Seen, Unfinished
from storage.stores.s3 import download, upload
from storage.stores.s3.address import parse
from storage.stores.s3.client import RETRIES, client, unquoted
from storage.stores.s3.conditions import PROBES, Conditions, conditions, old_objects
from storage.stores.s3.errors import ALTERED, MISSING, REFUSED, answered, says
from storage.stores.s3.lease import leased
from storage.stores.s3.upload import Condition

PAGE_OBJECTS = 1000
"""S3 lists at most so many in one response."""


class Head(NamedTuple):
    """Size, version and sha256 of an object."""

    seen: Seen
    sha256: str


class BucketStore:
    """Objects under one prefix of a bucket. Its only state is its address, so it can be pickled.

    An object appears whole, with its sha256 beside it as metadata. Every method may raise what
    `storage.stores.s3.errors.answered` lists.
    """

    def __init__(self, url: str) -> None:
        self._address = parse(url)

    @property
    def url(self) -> str:
        """The address of the home."""
        return self._address.url

    def __repr__(self) -> str:
        return f"BucketStore({self.url!r})"

    def __reduce__(self) -> tuple[type["BucketStore"], tuple[str]]:
        return BucketStore, (self.url,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BucketStore) and other.url == self.url

    def __hash__(self) -> int:
        return hash(self.url)

    def check(self) -> None:
        """Send one request, so that a wrong address or credential is noticed at the start."""
        with answered(self.url):
            client().list_objects_v2(
                Bucket=self._address.bucket, Prefix=self._address.at("").key, MaxKeys=1
            )

    def seen(self, name: str) -> Seen | None:
        """Return size and version of an object; None if there is none."""
        head = self._head(name)
        return head.seen if head else None

    def listing(self, folder: str) -> dict[str, Seen]:
        """Return size and version of every object under a folder, one page per request."""
        beginning = self._address.at(f"{folder}/" if folder else "").key
        found = {}
        with answered(f"s3://{self._address.bucket}/{beginning}"):
            pages = client().get_paginator("list_objects_v2")
            for page in pages.paginate(
                Bucket=self._address.bucket,
                Prefix=beginning,
                PaginationConfig={"PageSize": PAGE_OBJECTS},
            ):
                for item in page.get("Contents", []):
                    name = self._address.name(item["Key"])
                    if not name.endswith("/") and not name.startswith(f"{PROBES}/"):
                        found[name] = Seen(item["Size"], unquoted(item["ETag"]))
        return found

    def read(self, name: str, start: int = 0, length: int = -1) -> bytes:
        """Return an object's bytes, or `length` of them from `start` on; -1 reads to the end.

        A response that breaks off is resumed from there, for the same version. A whole object is
        compared with the sha256 in its metadata.

        Raises:
            ManifestError: there is no such object.
            IntegrityError: it ends before `start + length`, was altered, or was replaced meanwhile.
        """
        if length == 0 and self._head(name):
            return b""
        # S3 has no empty range; for a missing object, a range of one byte raises the right error.
        return download.read(self._address.at(name), start, length or 1)

    def write(self, name: str, data: bytes) -> Seen:
        """Store bytes under a name in one request, replacing an earlier object."""
        address = self._address.at(name)
        with answered(address.url):
            return Seen(len(data), upload.send_bytes(address, data))

    def put(self, name: str, path: Path, sha256: str) -> Seen:
        """Store a finished file under a name.

        An object with equal bytes is kept. One with other bytes, of a stage that ran again, is
        replaced; where the server supports conditions, only the version seen at the start is
        replaced: two writers with different bytes notice each other.

        Raises:
            LockedError: another process stored other bytes under the name meanwhile.
            IntegrityError: the file no longer has this digest.
        """
        address = self._address.at(name)
        first = current = self._head(name)
        size = path.stat().st_size
        for failures in range(1, RETRIES.attempts + 1):
            if current and current.sha256 == sha256 and current.seen.bytes == size:
                return current.seen
            if _version(current) != _version(first):
                break
            with answered(address.url):
                try:
                    condition = _unchanged(current, conditions(self._address))
                    return Seen(size, upload.send_file(address, path, sha256, condition))
                except ClientError as error:
                    self._again(error, failures)
            current = self._head(name)
        raise LockedError(
            f"{address.url} is written or removed by another process at the same time",
            "stop one of the two runs, then run again",
        )

    def get(self, name: str, path: Path, sha256: str = "") -> None:
        """Download an object to a file, which appears only when complete and checked.

        Raises:
            ManifestError: there is no such object.
            IntegrityError: its sha256 differs from the given one, or from that in its metadata.
        """
        download.fetch(self._address.at(name), path, sha256)

    def remove(self, name: str) -> None:
        """Delete an object; a missing one is no error."""
        address = self._address.at(name)
        with answered(address.url):
            client().delete_object(Bucket=address.bucket, Key=address.key)

    def unfinished(self, older_seconds: float) -> list[Unfinished]:
        """List what killed processes left: multipart uploads, and probes of conditions.

        Neither is in listings, and both are paid for. An upload in progress looks the same: ask for
        those older than any upload takes.
        """
        bucket, beginning = self._address.bucket, self._address.at("").key
        probes = self._address.at(f"{PROBES}/").key
        with answered(self.url):
            uploads = upload.unfinished(bucket, beginning, older_seconds)
            left = old_objects(bucket, probes, older_seconds)
        return [
            *(Unfinished(self._address.name(key), 0, identity) for key, identity in uploads),
            *(Unfinished(self._address.name(key), size) for key, size in left),
        ]

    def discard(self, left: Unfinished) -> None:
        """Delete the parts of an incomplete upload, or a probe."""
        if not left.upload:
            self.remove(left.name)
            return
        address = self._address.at(left.name)
        with answered(address.url):
            client().abort_multipart_upload(
                Bucket=address.bucket, Key=address.key, UploadId=left.upload
            )

    @contextmanager
    def alone(self, name: str, what: str) -> Iterator[None]:
        """Hold a lease that is exclusive across all machines, and released if its process dies.

        Raises:
            LockedError: another process holds it; the message names it.
        """
        with leased(self._address.at(name), what, conditions(self._address)):
            yield

    def _head(self, name: str) -> Head | None:
        address = self._address.at(name)
        with answered(address.url):
            try:
                answer = client().head_object(Bucket=address.bucket, Key=address.key)
            except ClientError as error:
                if says(error, MISSING):
                    return None
                raise
        seen = Seen(answer["ContentLength"], unquoted(answer["ETag"]))
        return Head(seen, answer.get("Metadata", {}).get(download.SHA256, ""))

    def _again(self, error: ClientError, failures: int) -> None:
        """Wait before another attempt if one can help; otherwise raise the error again."""
        altered = says(error, ALTERED) and failures < download.TRIES
        # If the version was removed meanwhile, S3 answers a conditional write with 404.
        if not (altered or says(error, REFUSED | MISSING)):
            raise error
        RETRIES.pause(failures)


def open_store(url: str) -> BucketStore:
    """Open the store of a home in a bucket, after one request to its server.

    Raises:
        ConfigError: the address, the endpoint or another setting is malformed.
        MachineError: there are no credentials, no rights, or no such bucket.
        SourceError: the server cannot be reached.
    """
    store = BucketStore(url)
    store.check()
    return store


def _version(head: Head | None) -> str:
    return head.seen.version if head else ""


def _unchanged(head: Head | None, kept: Conditions) -> Condition:
    if head is None:
        return Condition(absent=kept.absent)
    return Condition(version=head.seen.version if kept.same else "")

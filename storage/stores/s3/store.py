"""`BucketStore`: named bytes at rest in an S3 bucket."""

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
from storage.stores.s3.conditions import PROBES, Conditions, conditions
from storage.stores.s3.errors import ALTERED, MISSING, REFUSED, answered, says
from storage.stores.s3.lease import leased
from storage.stores.s3.upload import Condition

PAGE_OBJECTS = 1000
"""S3 lists no more in one answer."""


class Head(NamedTuple):
    """What a look at an object's head tells."""

    seen: Seen
    sha256: str


class BucketStore:
    """Objects under one prefix of a bucket. It holds its address alone, so it can be pickled.

    An object appears whole, with its sha256 beside it as metadata. Every method may raise what
    `storage.stores.s3.errors.answered` lists.
    """

    def __init__(self, url: str) -> None:
        self._address = parse(url)

    @property
    def url(self) -> str:
        """Return the address of the home."""
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
        """Ask the server once, so that a wrong address or credential is known at the start."""
        with answered(self.url):
            client().list_objects_v2(
                Bucket=self._address.bucket, Prefix=self._address.at("").key, MaxKeys=1
            )

    def seen(self, name: str) -> Seen | None:
        """Look at one object; None if there is none."""
        head = self._head(name)
        return head.seen if head else None

    def listing(self, folder: str) -> dict[str, Seen]:
        """Look at every object under a folder, a page to a request."""
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

        A body that breaks off is asked for again from there, of the same version. A whole object
        is compared with the sha256 beside it.

        Raises:
            ManifestError: there is no such object.
            IntegrityError: it ends before `start + length`, is altered, or was replaced meanwhile.
        """
        if length == 0 and self._head(name):
            return b""
        # S3 knows no empty range; of an object that is not there, this one raises what is right.
        return download.read(self._address.at(name), start, length or 1)

    def write(self, name: str, data: bytes) -> Seen:
        """Store bytes under a name in one request, in place of what was there."""
        place = self._address.at(name)
        with answered(place.url):
            return Seen(len(data), upload.send_bytes(place, data))

    def put(self, name: str, path: Path, sha256: str) -> Seen:
        """Store a finished file under a name.

        Equal bytes that are there already stay as they are. Others, of a stage that was done
        again, are replaced; but where the server keeps conditions, only the ones that were seen at
        the start: two writers with different bytes cannot take turns unknown to each other.

        Raises:
            LockedError: another process stored other bytes under the name meanwhile.
            IntegrityError: the file no longer has this digest.
        """
        place = self._address.at(name)
        first = current = self._head(name)
        size = path.stat().st_size
        for failures in range(1, RETRIES.attempts + 1):
            if current and current.sha256 == sha256 and current.seen.bytes == size:
                return current.seen
            if _version(current) != _version(first):
                break
            with answered(place.url):
                try:
                    condition = _unchanged(current, conditions(self._address))
                    return Seen(size, upload.send_file(place, path, sha256, condition))
                except ClientError as error:
                    self._again(error, failures)
            current = self._head(name)
        raise LockedError(
            f"{place.url} is written or removed by another process at the same time; "
            "let one run work on it, then run again"
        )

    def get(self, name: str, path: Path, sha256: str = "") -> None:
        """Bring an object to a file, which appears only when whole and checked.

        Raises:
            ManifestError: there is no such object.
            IntegrityError: its bytes have another sha256 than given, or than is beside it.
        """
        download.fetch(self._address.at(name), path, sha256)

    def remove(self, name: str) -> None:
        """Forget an object; one that is not there is no error."""
        place = self._address.at(name)
        with answered(place.url):
            client().delete_object(Bucket=place.bucket, Key=place.key)

    def unfinished(self, older_seconds: float) -> list[Unfinished]:
        """List the uploads in parts that killed processes left behind: they cost, and show nowhere.

        One that is still under way looks alike: ask for those older than any upload takes.
        """
        beginning = self._address.at("").key
        with answered(self.url):
            left = upload.unfinished(self._address.bucket, beginning, older_seconds)
        return [Unfinished(self._address.name(key), 0, identity) for key, identity in left]

    def discard(self, left: Unfinished) -> None:
        """Throw the parts of an unfinished upload away."""
        place = self._address.at(left.name)
        with answered(place.url):
            client().abort_multipart_upload(
                Bucket=place.bucket, Key=place.key, UploadId=left.upload
            )

    @contextmanager
    def alone(self, name: str, what: str) -> Iterator[None]:
        """Hold a lease that no other process of any machine holds, and that dies with its holder.

        Raises:
            LockedError: another holds it; the message names the holder.
        """
        with leased(self._address.at(name), what, conditions(self._address)):
            yield

    def _head(self, name: str) -> Head | None:
        place = self._address.at(name)
        with answered(place.url):
            try:
                answer = client().head_object(Bucket=place.bucket, Key=place.key)
            except ClientError as error:
                if says(error, MISSING):
                    return None
                raise
        seen = Seen(answer["ContentLength"], unquoted(answer["ETag"]))
        return Head(seen, answer.get("Metadata", {}).get(download.SHA256, ""))

    def _again(self, error: ClientError, failures: int) -> None:
        """Pause before another attempt where one can help, else raise the error again."""
        altered = says(error, ALTERED) and failures < download.TRIES
        # Over a version that was removed meanwhile, S3 answers 404 to a conditional write.
        if not (altered or says(error, REFUSED | MISSING)):
            raise error
        RETRIES.pause(failures)


def open_store(url: str) -> BucketStore:
    """Open a home in a bucket, having asked its server once.

    Raises:
        ConfigError: the address, the endpoint or another setting is malformed.
        MachineError: there are no credentials, no rights there, or no such bucket.
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

"""Reading objects by range requests that resume where a response broke off."""

import hashlib
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError
from urllib3.exceptions import HTTPError

from storage.errors import IntegrityError, SourceError
from storage.files import arriving, hash_file, write_at
from storage.retry_policy import Attempts, TransientError
from storage.stores.s3.address import S3Address
from storage.stores.s3.client import RETRIES, client, quoted, unquoted
from storage.stores.s3.errors import SHORT, answered, names_of, says

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, GetObjectRequestTypeDef

BLOCK_BYTES = 1 << 18
"""Lost at most when a response breaks off."""

REMEDY = "check the network, then run again"

PART_BYTES = 64 << 20
"""Larger objects are fetched in parts of this size."""

CONNECTIONS = 4
"""Parts of an object that are downloaded at once: one connection is slower than a network."""

TRIES = 2
"""Altered bytes are downloaded once more: the network may have altered them."""

SHA256 = "sha256"
"""The metadata key of an object's own digest."""

LOST = (HTTPClientError, IncompleteReadError, HTTPError, OSError)

logger = logging.getLogger(__name__)


class Reading:
    """An object's bytes from `start` to `end`; a response that breaks off is resumed.

    Raises:
        ManifestError: there is no such object.
        IntegrityError: it ends before `start + length`, or another one took its place.
    """

    def __init__(
        self, address: S3Address, start: int = 0, length: int = -1, version: str = ""
    ) -> None:
        self._address = address
        self.position = start
        self.version = version
        self.sha256 = ""
        self._last = start + length - 1 if length >= 0 else None
        self.first = self._answer = self._asked()
        self.version = unquoted(self._answer["ETag"])
        self.sha256 = self._answer.get("Metadata", {}).get(SHA256, "")
        total = self._total()
        self.end = total if length < 0 else start + length
        if total < self.end:
            raise IntegrityError(
                f"{address.url} ends at byte {total}, before {self.end}; run the stage "
                "that makes it again"
            )

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes in order."""
        attempts = Attempts(self._address.url, RETRIES, REMEDY)
        while True:
            reason = "too few bytes"
            try:
                for block in self._answer["Body"].iter_chunks(BLOCK_BYTES):
                    self.position += len(block)
                    attempts.received(len(block))
                    yield block
            except LOST as error:
                reason = type(error).__name__
            finally:
                self._answer["Body"].close()
            if self.position >= self.end:
                return
            logger.debug("%s broke off at byte %d", self._address.url, self.position)
            attempts.failed(
                TransientError(f"broke off at byte {self.position} of {self.end} ({reason})")
            )
            self._answer = self._asked()

    def _asked(self) -> "GetObjectOutputTypeDef":
        wanted: GetObjectRequestTypeDef = {"Bucket": self._address.bucket, "Key": self._address.key}
        part = self.position > 0 or self._last is not None
        if part:
            last = "" if self._last is None else self._last
            wanted["Range"] = f"bytes={self.position}-{last}"
        if self.version:
            wanted["IfMatch"] = quoted(self.version)
        with answered(self._address.url):
            try:
                answer = self._opened(wanted)
            except ClientError as error:
                if names_of(error)[1] == "412":
                    raise self._changed() from error
                raise
        if part and not answer.get("ContentRange"):
            raise SourceError(
                f"the server of {self._address.url} ignores range requests and sends whole "
                "objects; use a server that supports HTTP ranges"
            )
        # A server that ignores conditions sends the new object silently.
        if self.version and unquoted(answer["ETag"]) != self.version:
            raise self._changed()
        return answer

    def _opened(self, wanted: "GetObjectRequestTypeDef") -> "GetObjectOutputTypeDef":
        """Send the request; retry if an error response breaks off, which boto3 does not."""
        attempts = Attempts(self._address.url, RETRIES, REMEDY)
        while True:
            try:
                return client().get_object(**wanted)
            except HTTPError as error:
                attempts.failed(TransientError(f"the answer broke off ({type(error).__name__})"))

    def _changed(self) -> IntegrityError:
        return IntegrityError(
            f"{self._address.url} was replaced while it was read; stop other runs on this home, "
            "then run again"
        )

    def _total(self) -> int:
        _, _, total = self._answer.get("ContentRange", "").rpartition("/")
        return int(total) if total else self._answer["ContentLength"]


def read(address: S3Address, start: int = 0, length: int = -1) -> bytes:
    """Return an object's bytes from `start` on; a whole object is compared with its digest."""
    for _ in range(TRIES):
        try:
            reading = Reading(address, start, length)
        except IntegrityError as error:
            # As with a folder's file, nothing lies beyond the end.
            beyond = isinstance(error.__cause__, ClientError) and says(error.__cause__, SHORT)
            if beyond and length < 0:
                return b""
            raise
        data = b"".join(reading.blocks())
        whole = start == 0 and len(data) == reading.end and length < 0
        if not whole or reading.sha256 in ("", hashlib.sha256(data).hexdigest()):
            return data
    raise _altered(address, reading.sha256)


def fetch(address: S3Address, path: Path, sha256: str = "") -> None:
    """Download an object to a file, which appears only when complete and checked.

    Raises:
        ManifestError: there is no such object.
        IntegrityError: its bytes have another sha256, also after a second download.
        MachineError: the disk is full or forbidden.
    """
    with arriving(path) as temporary:
        for _ in range(TRIES):
            recorded = _filled(address, temporary)
            promised = sha256 or recorded
            if promised in ("", hash_file(temporary)):
                return
        raise _altered(address, promised)


def _filled(address: S3Address, path: Path) -> str:
    """Download an object to a file, a large one in parts; return its recorded digest."""
    reading = Reading(address)
    with path.open("wb") as stream, ThreadPoolExecutor(CONNECTIONS) as pool:
        descriptor = stream.fileno()
        rest = [
            pool.submit(_part, address, descriptor, start, reading)
            for start in range(PART_BYTES, reading.end, PART_BYTES)
        ]
        try:
            _write(descriptor, reading, PART_BYTES)
            for part in rest:
                part.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return reading.sha256


def _part(address: S3Address, descriptor: int, start: int, whole: Reading) -> None:
    length = min(PART_BYTES, whole.end - start)
    _write(descriptor, Reading(address, start, length, whole.version), start + length)


def _write(descriptor: int, reading: Reading, end: int) -> None:
    position = reading.position
    for block in reading.blocks():
        position = write_at(descriptor, position, block)
        if position >= end:
            return


def _altered(address: S3Address, sha256: str) -> IntegrityError:
    return IntegrityError(
        f"{address.url} has been altered: its sha256 is not {sha256}; run the stage that "
        "makes it again"
    )

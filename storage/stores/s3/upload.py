"""Uploads in one request, or in parts if large; the server checks each digest."""

import base64
import hashlib
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import ClientError

from storage.errors import IntegrityError, StemworksError
from storage.read_ahead import ordered_results
from storage.stores.s3.address import S3Address
from storage.stores.s3.client import client, quoted, server_time, unquoted
from storage.stores.s3.download import SHA256
from storage.stores.s3.errors import UNKNOWN, answered, says

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

SINGLE_BYTES = 5_000_000_000
"""S3 accepts at most so much in one request."""

PART_BYTES = 64 << 20
PARTS_AT_ONCE = 4
"""Held in memory during their upload, besides the one that is being read."""

PARTS = 10_000
"""S3 accepts at most so many for one object; larger objects have larger parts."""

logger = logging.getLogger(__name__)


class Condition(NamedTuple):
    """The condition of a write; none if neither is set."""

    version: str = ""
    """The object still has this version."""

    absent: bool = False
    """There is no object."""

    def headers(self) -> dict[str, str]:
        """Return the condition as boto3's arguments."""
        if self.version:
            return {"IfMatch": quoted(self.version)}
        return {"IfNoneMatch": "*"} if self.absent else {}


ALWAYS = Condition()


def encoded(sha256: str) -> str:
    """Return a digest in hex as S3 writes it."""
    return base64.b64encode(bytes.fromhex(sha256)).decode()


def send_bytes(address: S3Address, data: bytes, condition: Condition = ALWAYS) -> str:
    """Store bytes and return their version; a condition that fails raises botocore's error."""
    sha256 = hashlib.sha256(data).hexdigest()
    answer = client().put_object(
        Bucket=address.bucket,
        Key=address.key,
        Body=data,
        ChecksumSHA256=encoded(sha256),
        Metadata={SHA256: sha256},
        **condition.headers(),  # type: ignore[arg-type]
    )
    return unquoted(answer["ETag"])


def send_file(address: S3Address, path: Path, sha256: str, condition: Condition = ALWAYS) -> str:
    """Store a file without reading it whole into memory; return its version.

    A condition that fails raises botocore's error.

    Raises:
        IntegrityError: the file no longer has this digest.
    """
    size = path.stat().st_size
    if size > SINGLE_BYTES:
        return _in_parts(address, path, sha256, condition)
    with path.open("rb") as stream:
        answer = client().put_object(
            Bucket=address.bucket,
            Key=address.key,
            Body=stream,
            ContentLength=size,
            ChecksumSHA256=encoded(sha256),
            Metadata={SHA256: sha256},
            **condition.headers(),  # type: ignore[arg-type]
        )
    return unquoted(answer["ETag"])


def _in_parts(address: S3Address, path: Path, sha256: str, condition: Condition) -> str:
    with _upload(address, sha256) as upload:
        parts, found = _sent(address, path, upload)
        # The server checks only the digests of the parts.
        if found != sha256:
            raise IntegrityError(
                f"{path} was altered after its sha256 was computed; run the stage that makes "
                "it again"
            )
        done = client().complete_multipart_upload(
            Bucket=address.bucket,
            Key=address.key,
            UploadId=upload,
            MultipartUpload={"Parts": parts},
            **condition.headers(),  # type: ignore[arg-type]
        )
    return unquoted(done["ETag"])


def _sent(address: S3Address, path: Path, upload: str) -> tuple[list["CompletedPartTypeDef"], str]:
    """Upload all parts, several at a time; return them, and the sha256 of the bytes read.

    When this returns or raises, no part is being uploaded any more, so an abort leaves none.
    """
    whole = hashlib.sha256()

    def read() -> Iterator[tuple[int, bytes]]:
        for number, data in enumerate(_parts(path), start=1):
            whole.update(data)
            yield number, data

    send = partial(_send_part, address, upload)
    with ThreadPoolExecutor(PARTS_AT_ONCE, thread_name_prefix="upload") as pool:
        sent = list(ordered_results(pool, send, read(), PARTS_AT_ONCE - 1))
    return sent, whole.hexdigest()


def _send_part(address: S3Address, upload: str, part: tuple[int, bytes]) -> "CompletedPartTypeDef":
    number, data = part
    digest = encoded(hashlib.sha256(data).hexdigest())
    answer = client().upload_part(
        Bucket=address.bucket,
        Key=address.key,
        UploadId=upload,
        PartNumber=number,
        Body=data,
        ChecksumSHA256=digest,
    )
    return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": digest}


def unfinished(bucket: str, prefix: str, older_seconds: float) -> list[tuple[str, str]]:
    """Return key and id of multipart uploads that are this old, by the server's clock.

    None are known of a server that cannot list them.
    """
    found: list[tuple[str, str]] = []
    try:
        pages = client().get_paginator("list_multipart_uploads")
        for page in pages.paginate(Bucket=bucket, Prefix=prefix):
            now = server_time(page["ResponseMetadata"])
            found += [
                (item["Key"], item["UploadId"])
                for item in page.get("Uploads", [])
                if (now - item["Initiated"]).total_seconds() >= older_seconds
            ]
    except ClientError as error:
        # rclone says so of a bucket without uploads.
        if not says(error, UNKNOWN | {"NoSuchUpload"}):
            raise
    return found


@contextmanager
def _upload(address: S3Address, sha256: str) -> Iterator[str]:
    upload = client().create_multipart_upload(
        Bucket=address.bucket,
        Key=address.key,
        ChecksumAlgorithm="SHA256",
        Metadata={SHA256: sha256},
    )["UploadId"]
    try:
        yield upload
    except BaseException:
        try:
            with answered(address.url):
                client().abort_multipart_upload(
                    Bucket=address.bucket, Key=address.key, UploadId=upload
                )
        except StemworksError as error:
            logger.warning(
                "the parts of an upload could not be deleted and take paid space; delete them: %s",
                error,
            )
        raise


def _parts(path: Path) -> Iterator[bytes]:
    size = max(PART_BYTES, -(-path.stat().st_size // PARTS))
    with path.open("rb") as stream:
        while data := stream.read(size):
            yield data

"""A bucket behind an unreliable network and a strict, refusing or forgetful server."""

import errno
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.errors import (
    IntegrityError,
    MachineError,
    ManifestError,
    SourceError,
    StemworksError,
)
from storage.stores.s3 import BucketStore, client, download, upload
from tests.fault_proxy import Rules, mismatch, unchunked

Faulty = tuple[BucketStore, Rules]
DATA = os.urandom(1_000_000)


def file_of(tmp_path: Path, data: bytes) -> tuple[Path, str]:
    path = tmp_path / "file"
    path.write_bytes(data)
    return path, hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("kind", ["truncate", "reset"])
def test_a_read_goes_on_where_it_broke_off(faulty: Faulty, kind: str) -> None:
    store, rules = faulty
    seen = store.write("name", DATA)
    rules.add(kind, "GET", "name", amount=600_000, times=1)
    rules.add(kind, "GET", "name", amount=10_000, first=2, times=2)
    assert store.read("name") == DATA
    asked = [r.headers for r in rules.requests if r.method == "GET"]
    assert "range" not in asked[0]
    assert all(headers["range"].startswith("bytes=") for headers in asked[1:])
    assert all(headers["if-match"] == f'"{seen.version}"' for headers in asked[1:])
    assert int(asked[1]["range"].strip("bytes=-")) > 0


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    start=st.integers(0, 100_000),
    length=st.integers(1, 100_000),
    breaks=st.lists(st.integers(0, 60_000), max_size=4),
    kind=st.sampled_from(["truncate", "reset"]),
)
def test_any_part_survives_any_breaks(
    faulty: Faulty, start: int, length: int, breaks: list[int], kind: str
) -> None:
    store, rules = faulty
    rules.faults.clear()
    data = DATA[:200_000]
    store.write("name", data)
    for number, amount in enumerate(breaks, start=1):
        rules.add(kind, "GET", "name", amount=amount, first=number)
    assert store.read("name", start, length) == data[start : start + length]


def test_a_body_that_always_breaks_off_is_given_up(faulty: Faulty, tmp_path: Path) -> None:
    store, rules = faulty
    store.write("name", DATA)
    rules.add("truncate", "GET", "name", amount=100, times=999)
    with pytest.raises(SourceError, match=r"name failed 10 .* at byte \d+ of 1000000 .*run again"):
        store.read("name")
    assert rules.count("GET", "name") == client.RETRIES.attempts
    with pytest.raises(SourceError, match="name failed 10 times"):
        store.get("name", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("conditional", [True, False])
def test_an_object_replaced_in_mid_read_is_named(faulty: Faulty, conditional: bool) -> None:
    store, rules = faulty
    rules.conditional = conditional
    store.write("name", DATA)
    reading = download.Reading(store._address.at("name"))
    rules.add("truncate", "GET", "name", amount=10_000)
    reading = download.Reading(store._address.at("name"))
    store.write("name", DATA[::-1])
    with pytest.raises(IntegrityError, match=r"name was replaced while it was read"):
        list(reading.blocks())


def test_bytes_altered_on_their_way_are_fetched_again(faulty: Faulty, tmp_path: Path) -> None:
    store, rules = faulty
    store.write("name", DATA)
    rules.add("alter", "GET", "name", amount=123)
    assert store.read("name") == DATA
    rules.add("alter", "GET", "name", amount=123)
    store.get("name", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == DATA
    rules.add("alter", "GET", "name", amount=123, times=99)
    with pytest.raises(IntegrityError, match="name has been altered"):
        store.read("name")
    with pytest.raises(IntegrityError, match="name has been altered"):
        store.get("name", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_download_in_parts_survives_breaks(
    faulty: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, rules = faulty
    monkeypatch.setattr(download, "PART_BYTES", 100_000)
    store.write("name", DATA)
    for first in range(1, 12, 2):
        rules.add("truncate", "GET", "name", amount=70_000, first=first)
    store.get("name", tmp_path / "out", hashlib.sha256(DATA).hexdigest())
    assert (tmp_path / "out").read_bytes() == DATA


@pytest.mark.parametrize(
    ("kind", "amount"),
    [("status", 503), ("refuse", 0), ("forget", 0), ("spoil", 0), ("late", 0.05)],
)
def test_a_put_survives(faulty: Faulty, tmp_path: Path, kind: str, amount: float) -> None:
    store, rules = faulty
    path, sha256 = file_of(tmp_path, DATA)
    rules.add(kind, "PUT", "home/name", amount=amount)
    seen = store.put("name", path, sha256)
    assert store.seen("name") == seen
    assert store.read("name") == DATA
    rules.add(kind, "PUT", "home/name", amount=amount)
    path, sha256 = file_of(tmp_path, b"other bytes")
    assert store.put("name", path, sha256) == store.seen("name")
    assert store.read("name") == b"other bytes"


@pytest.mark.parametrize(("kind", "amount"), [("status", 503), ("refuse", 0), ("forget", 0)])
def test_a_write_survives(faulty: Faulty, kind: str, amount: float) -> None:
    store, rules = faulty
    rules.add(kind, "PUT", "name", amount=amount)
    store.write("name", b"bytes")
    assert store.read("name") == b"bytes"


@pytest.mark.parametrize(
    ("status", "code", "kind", "remedy"),
    [
        (403, "AccessDenied", MachineError, "access is denied; use other credentials, or grant"),
        (403, "InvalidAccessKeyId", MachineError, "credentials are refused; renew them"),
        (403, "SignatureDoesNotMatch", MachineError, "credentials are refused; renew them"),
        (403, "RequestTimeTooSkewed", MachineError, "clock differs"),
        (404, "NoSuchBucket", MachineError, "no such bucket; create it"),
        (507, "InsufficientStorage", MachineError, "no space left"),
        (403, "QuotaExceeded", MachineError, "quota is used up; free some"),
        (503, "SlowDown", SourceError, "overloaded after 10 attempts; use fewer workers"),
        (500, "InternalError", SourceError, "InternalError, HTTP 500.*run again"),
        (418, "Teapot", SourceError, "Teapot, HTTP 418.*ask its operator"),
    ],
)
def test_every_refusal_is_named(
    faulty: Faulty, tmp_path: Path, status: int, code: str, kind: type[StemworksError], remedy: str
) -> None:
    store, rules = faulty
    path, sha256 = file_of(tmp_path, b"bytes")
    store.put("there", path, sha256)
    for method in ("PUT", "GET", "DELETE"):
        rules.add("status", method, "", amount=status, code=code, times=9999)
    for work in (
        lambda: store.write("name", b""),
        lambda: store.put("name", path, sha256),
        lambda: store.read("name"),
        lambda: store.get("name", tmp_path / "out"),
        lambda: store.remove("name"),
        lambda: store.listing("folder"),
        store.check,
    ):
        with pytest.raises(kind, match=rf"s3://.*{remedy}"):
            work()
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_no_lost_connection(
    faulty: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = faulty
    store.write("name", DATA)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "pwrite", full)
    for part in (download.PART_BYTES, 100_000):
        monkeypatch.setattr(download, "PART_BYTES", part)
        with pytest.raises(MachineError, match=r"out: no space is left; free some"):
            store.get("name", tmp_path / "out")
        assert list(tmp_path.iterdir()) == []


def test_what_killed_uploads_left_is_found_and_thrown_away(faulty: Faulty) -> None:
    store, _ = faulty
    place = store._address.at("large")
    client.client().create_multipart_upload(Bucket=place.bucket, Key=place.key)
    century = 100 * 365 * 86400
    assert store.unfinished(older_seconds=century) == []
    # The test server says that every upload began in 2010.
    left = store.unfinished(older_seconds=3600)
    assert [one.name for one in left] == ["large"]
    store.discard(left[0])
    assert store.unfinished(older_seconds=3600) == []


def test_an_upload_that_fails_leaves_no_parts(
    faulty: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, rules = faulty
    monkeypatch.setattr(upload, "SINGLE_BYTES", 0)
    monkeypatch.setattr(upload, "PART_BYTES", 5 << 20)
    path, sha256 = file_of(tmp_path, DATA * 6)
    rules.add("status", "PUT", "partNumber=2", amount=507, times=99)
    # Were the upload aborted while this is under way, it would stay behind.
    rules.add("late", "PUT", "partNumber=1", amount=0.5)
    with pytest.raises(MachineError, match="no space left"):
        store.put("name", path, sha256)
    assert "DELETE" in [r.method for r in rules.requests if "uploadId" in r.path][-1:]
    uploads = client.client().list_multipart_uploads(Bucket=store._address.bucket)
    assert not uploads.get("Uploads")
    rules.faults.clear()
    rules.add("spoil", "PUT", "partNumber=2")
    rules.add("refuse", "PUT", "partNumber=1")
    store.put("name", path, sha256)
    assert store.read("name") == DATA * 6


def test_an_outage_leaves_no_one_without_retries(faulty: Faulty) -> None:
    """Botocore's quota of retries would be used up by the first part, and fail the second."""
    store, rules = faulty
    store.write("name", b"bytes")
    rules.add("refuse", "GET", "name", times=client.RETRIES.attempts * 15)
    for _ in range(15):
        with pytest.raises(SourceError, match="cannot reach the server"):
            store.read("name")
    assert rules.faults[0].met == client.RETRIES.attempts * 15
    rules.add("refuse", "GET", "name", times=client.RETRIES.attempts - 1)
    assert store.read("name") == b"bytes"


def test_a_whole_home_survives_a_bad_day(faulty: Faulty, tmp_path: Path) -> None:
    """One request in three fails, in turn; nothing is lost."""
    store, rules = faulty
    for method in ("GET", "PUT", "HEAD", "DELETE"):
        for number in range(1, 60, 3):
            kind = ("refuse", "status", "forget")[number // 3 % 3]
            rules.add(kind, method, "", amount=503, first=number)
    kept = {f"units/{number}": os.urandom(number * 1000) for number in range(12)}
    for name, data in kept.items():
        store.put(name, *file_of(tmp_path, data))
    store.remove("units/3")
    del kept["units/3"]
    assert {name: store.read(name) for name in store.listing("units")} == kept
    with pytest.raises(ManifestError):
        store.read("units/3")


def test_the_proxy_checks_digests() -> None:
    """CRC32 of `123456789` is 0xCBF43926, as every catalogue of CRCs says."""
    chunked = (
        b"5\r\n12345\r\n4;chunk-signature=0\r\n6789\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n"
    )
    body, trailers = unchunked(chunked)
    assert body == b"123456789"
    assert mismatch(trailers, body) == ""
    assert mismatch(trailers, b"123456780") == "x-amz-checksum-crc32"


def test_botocores_own_checksums_can_be_had(
    faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, rules = faulty
    monkeypatch.setenv("STEMWORKS_S3_CHECKSUMS", "when_supported")
    store.write("name", DATA)
    assert store.read("name") == DATA
    place = store._address.at("plain")
    with Path(os.devnull).open("rb") as stream:
        client.client().put_object(Bucket=place.bucket, Key=place.key, Body=stream)
    assert any("x-amz-checksum-crc32" in r.headers for r in rules.requests if "plain" in r.path)


def test_a_refusal_that_breaks_off_is_asked_for_again(faulty: Faulty) -> None:
    store, rules = faulty
    rules.add("reset", "GET", "missing", amount=10, times=2)
    with pytest.raises(ManifestError, match="missing"):
        store.read("missing")
    assert rules.count("GET", "missing") == 3

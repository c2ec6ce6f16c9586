"""A bucket: addresses, the client, what a request carries, and what never leaks."""

import hashlib
import json
import logging
import os
import pickle
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from storage.errors import ConfigError, IntegrityError, MachineError, SourceError
from storage.stores.base import Seen
from storage.stores.s3 import BucketStore, client, download, open_store, parse, upload
from storage.stores.s3 import store as store_module
from tests.bucket import ACCESS_KEY, SECRET_KEY, SESSION_TOKEN
from tests.fault_proxy import Rules

SECRETS = (SECRET_KEY, SESSION_TOKEN, ACCESS_KEY)


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [
        ("s3://stems", "stems", ""),
        ("s3://stems/", "stems", ""),
        ("s3://stems/a/b/", "stems", "a/b"),
        ("S3://stems.of-mine/M.E.R.C. & Co", "stems.of-mine", "M.E.R.C. & Co"),
    ],
)
def test_an_address_is_taken_apart(url: str, bucket: str, prefix: str) -> None:
    address = parse(url)
    assert (address.bucket, address.prefix) == (bucket, prefix)
    assert parse(address.url) == address
    assert address.name(address.at("a/b.json").key) == "a/b.json"


@pytest.mark.parametrize(
    "url",
    [
        "s3://", "s3:///prefix", "s3://b", "s3://-stems/x", "/home/stems", "http://stems/x",
        "s3://stems/a/../b", "s3://stems/..", "s3://stems/./a", "s3://stems//a", "s3://stems/a//b",
        "s3://stems/a?versionId=1", "s3://stems?x=1", "s3://stems/a#b", "s3://stems/a\nb",
        "s3://stems:9000/a", "s3://stems/a\\b",
    ],
)  # fmt: skip
def test_a_malformed_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"give s3://bucket/prefix|STEMWORKS_S3_ENDPOINT"):
        open_store(url)


@pytest.mark.parametrize(
    "url",
    [f"s3://me:{SECRET_KEY}@stems/a", f"s3://stems/a?key={SECRET_KEY}", f"s3://a#{SECRET_KEY}"],
)
def test_a_secret_in_an_address_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(url)
    assert SECRET_KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STEMWORKS_S3_ENDPOINT", "storage.example.org:9000"),
        ("STEMWORKS_S3_ENDPOINT", f"http://me:{SECRET_KEY}@127.0.0.1:1"),
        ("STEMWORKS_S3_CHECKSUMS", "sometimes"),
    ],
)
def test_a_malformed_setting_is_refused(
    home_url: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=name) as caught:
        open_store(home_url)
    assert SECRET_KEY not in str(caught.value)


def test_the_endpoint_is_ours_then_the_standard_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in client.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    assert client.settings().endpoint == ""
    for name in reversed(client.ENDPOINTS):
        monkeypatch.setenv(name, f"http://{name.lower().replace('_', '-')}")
        assert client.settings().endpoint == f"http://{name.lower().replace('_', '-')}"


def test_the_client_is_told_what_it_needs(home_url: str) -> None:
    config: Any = client.client().meta.config
    assert config.retries == {"mode": "standard", "total_max_attempts": 10}
    assert (config.connect_timeout, config.read_timeout) == (10, 60)
    assert config.request_checksum_calculation == "when_required"
    assert config.s3 == {"addressing_style": "path"}


def test_a_store_travels_and_says_where_it_is(home_url: str) -> None:
    store = open_store(home_url + "/")
    store.write("name", b"x")
    again = pickle.loads(pickle.dumps(store))
    assert again == store
    assert again.read("name") == b"x"
    assert repr(store) == f"BucketStore('{home_url}')"
    assert store.url == home_url


def test_what_is_wrong_is_known_at_the_start(
    home_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MachineError, match=r"there is no such bucket; create it"):
        open_store("s3://no-such-bucket-here/home")
    monkeypatch.setattr(client, "_clients", {})
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(MachineError, match=r"no credentials were found \(.*\); set AWS_PROFILE"):
        open_store(home_url)
    monkeypatch.delenv("AWS_PROFILE")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    with pytest.raises(MachineError, match=r"no credentials were found \(.*\); set AWS_PROFILE"):
        open_store(home_url)


def test_a_server_that_is_not_there_is_named(
    home_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "RETRIES", replace(client.RETRIES, attempts=1))
    monkeypatch.setenv("STEMWORKS_S3_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SourceError, match=r"cannot reach .* at http://127\.0\.0\.1:9 .*run again"):
        open_store(home_url)


def test_a_write_is_one_request(faulty: tuple[BucketStore, Rules]) -> None:
    store, rules = faulty
    for number in range(5):
        store.write(f"marks/{number}.json", b"{}")
    assert [request.method for request in rules.requests] == ["PUT"] * 5
    digest = upload.encoded(hashlib.sha256(b"{}").hexdigest())
    assert all(r.headers["x-amz-checksum-sha256"] == digest for r in rules.requests)


def test_equal_bytes_are_not_sent_again(faulty: tuple[BucketStore, Rules], tmp_path: Path) -> None:
    store, rules = faulty
    (tmp_path / "file").write_bytes(b"shard")
    sha256 = hashlib.sha256(b"shard").hexdigest()
    store.put("0.tar", tmp_path / "file", sha256)
    assert rules.count("PUT", r"home/0\.tar") == 1
    put = next(r for r in rules.requests if r.method == "PUT" and "0.tar" in r.path)
    assert put.headers["if-none-match"] == "*"
    assert put.headers["x-amz-meta-sha256"] == sha256
    rules.requests.clear()
    store.put("0.tar", tmp_path / "file", sha256)
    assert [request.method for request in rules.requests] == ["HEAD"]


def test_a_server_is_asked_once_for_conditions(
    faulty: tuple[BucketStore, Rules], tmp_path: Path
) -> None:
    store, rules = faulty
    (tmp_path / "file").write_bytes(b"shard")
    for number in range(3):
        store.put(f"{number}.tar", tmp_path / "file", hashlib.sha256(b"shard").hexdigest())
    assert rules.count("PUT", r"\.probes/") == 3
    assert rules.count("DELETE", r"\.probes/") == 1
    assert set(store.listing("")) == {"0.tar", "1.tar", "2.tar"}


def test_listings_have_many_pages(
    faulty: tuple[BucketStore, Rules], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, rules = faulty
    monkeypatch.setattr(store_module, "PAGE_OBJECTS", 10)
    for number in range(25):
        store.write(f"units/{number:04}", b"x")
    found = store.listing("units")
    assert list(found) == [f"units/{number:04}" for number in range(25)]
    assert found["units/0007"] == store.seen("units/0007") == Seen(1, hashlib.md5(b"x").hexdigest())
    assert rules.count("GET", "list-type=2") == 3


def test_large_files_go_and_come_in_parts(
    faulty: tuple[BucketStore, Rules], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, rules = faulty
    # S3 takes no part below 5 MiB, the last one aside.
    monkeypatch.setattr(upload, "SINGLE_BYTES", 6 << 20)
    monkeypatch.setattr(upload, "PART_BYTES", 5 << 20)
    monkeypatch.setattr(upload, "PARTS_AT_ONCE", 2)
    monkeypatch.setattr(download, "PART_BYTES", 4 << 20)
    data = os.urandom(15 << 20) + b"!"
    sha256 = hashlib.sha256(data).hexdigest()
    (tmp_path / "file").write_bytes(data)
    seen = store.put("large", tmp_path / "file", sha256)
    assert seen == store.seen("large")
    assert seen.bytes == len(data)
    assert rules.count("PUT", "partNumber=") == 4
    assert store.put("large", tmp_path / "file", sha256) == seen
    assert rules.count("PUT", "partNumber=") == 4
    store.get("large", tmp_path / "out", sha256)
    assert (tmp_path / "out").read_bytes() == data
    assert rules.count("GET", "home/large") == 4


@pytest.mark.parametrize("single", [1 << 30, 0])
def test_a_file_that_changed_is_not_stored(
    faulty: tuple[BucketStore, Rules], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, single: int
) -> None:
    store, _ = faulty
    monkeypatch.setattr(upload, "SINGLE_BYTES", single)
    (tmp_path / "file").write_bytes(b"altered since")
    with pytest.raises(IntegrityError, match="altered"):
        store.put("name", tmp_path / "file", hashlib.sha256(b"before").hexdigest())
    assert store.seen("name") is None
    at = parse(store.url)
    uploads = client.client().list_multipart_uploads(Bucket=at.bucket)
    assert not uploads.get("Uploads")


def test_threads_share_one_client(home_url: str) -> None:
    store = open_store(home_url)
    parts = [bytes([number]) * 1000 for number in range(20)]
    store.write("name", b"".join(parts))
    clients, start = set(), threading.Barrier(8)

    def hammer(thread: int) -> bool:
        start.wait()
        clients.add(client.client())
        return all(store.read("name", n * 1000, 1000) == parts[n] for n in range(20))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(hammer, range(8)))
    assert len(clients) == 1


def test_a_forked_child_has_a_client_of_its_own(home_url: str) -> None:
    """In a process of its own: forking one that has threads is not what is tested."""
    script = (
        "import os, sys\n"
        "from storage.stores.s3 import client, open_store\n"
        "store = open_store(sys.argv[1]); store.write('name', b'0123456789')\n"
        "mine = id(client.client()), os.getpid()\n"
        "children = []\n"
        "for child in range(3):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        clean = not client._clients\n"
        "        good = all(store.read('name', n % 10, 1) == b'%d' % (n % 10) for n in range(30))\n"
        "        os._exit(0 if clean and good and len(client._clients) == 1 else 1)\n"
        "    children.append(pid)\n"
        "assert all(store.read('name', n % 10, 1) == b'%d' % (n % 10) for n in range(30))\n"
        "assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]\n"
        "assert mine == (id(client.client()), os.getpid())\n"
    )
    subprocess.run([sys.executable, "-c", script, home_url], check=True)


def test_nothing_secret_is_said_or_stored(
    faulty: tuple[BucketStore, Rules], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    store, rules = faulty
    client._clients.clear()
    said = [repr(store), json.dumps(store.__reduce__()[1])]
    rules.add("truncate", "GET", "home/name", amount=1)
    rules.add("status", "PUT", "home/denied", amount=403, times=99)
    rules.add("status", "PUT", "home/key", amount=403, code="InvalidAccessKeyId", times=99)
    with caplog.at_level(logging.DEBUG):
        store.write("name", b"bytes")
        store.read("name")
        for name in ("denied", "key"):
            try:
                store.write(name, b"")
            except MachineError:
                said.append(traceback.format_exc())
        with store.alone("lock", "work"):
            said.append(store.read("lock").decode())
    assert len(said) == 5
    assert "broke off" in caplog.text
    for secret in SECRETS:
        assert not any(secret in text for text in [*said, caplog.text])

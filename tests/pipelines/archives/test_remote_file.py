"""A file on a server: pinned, resumed, and never read past what was asked for."""

import contextlib
import random
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.archives.remote_file import RemoteFile
from storage.errors import SourceError
from storage.retry_policy import RetryPolicy
from tests.range_server import Fault, RangeServer

QUICK = RetryPolicy(attempts=4, first_seconds=0.001, longest_seconds=0.002, silence_seconds=0.3)
SIZE = 3_000_000


@pytest.fixture
def data() -> bytes:
    return random.Random(0).randbytes(SIZE)


@pytest.fixture
def server(tmp_path: Path, data: bytes) -> Iterator[RangeServer]:
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    with RangeServer({"a.zip": path}) as running:
        yield running


@contextlib.contextmanager
def silent_port() -> Iterator[str]:
    """Yield an address at which nobody listens."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{reserved.getsockname()[1]}/a.zip"


def opened(server: RangeServer, **pins: object) -> RemoteFile:
    return RemoteFile(server.url("a.zip"), retries=QUICK, **pins)  # type: ignore[arg-type]


def test_ranges_are_the_files_bytes(server: RangeServer, data: bytes) -> None:
    with opened(server) as remote:
        for start, length in [(0, 1), (0, SIZE), (1_234_567, 765_432), (SIZE - 1, 1), (SIZE, 0)]:
            assert remote.read(start, length) == data[start : start + length]
        assert (remote.size, remote.etag) == (SIZE, server.etag("a.zip"))
    assert server.requests[0] == ("HEAD", "")
    last = f"bytes={SIZE - 1}-{SIZE - 1}"
    assert server.gets() == ["bytes=0-0", f"bytes=0-{SIZE - 1}", "bytes=1234567-1999998", last]
    assert server.connections == 1


def test_pinned_files_are_not_asked_about_again(server: RangeServer, data: bytes) -> None:
    with opened(server, size=SIZE, etag=server.etag("a.zip")) as remote:
        assert remote.read(5, 5) == data[5:10]
    assert server.requests == [("GET", "bytes=5-9")]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(cut=900_000),
        Fault(cut=900_000, reset=True),
        Fault(cut=0),
        Fault(status=500),
        Fault(status=503),
        Fault(status=429, headers=(("Retry-After", "0"),)),
        Fault(status=408),
        Fault(silence=0.6),
    ],
    ids=str,
)
def test_what_may_pass_is_tried_again(server: RangeServer, data: bytes, fault: Fault) -> None:
    server.faults += [fault] * 3
    with opened(server, size=SIZE) as remote:
        assert remote.read(1000, SIZE - 2000) == data[1000:-1000]
    assert len(server.gets()) == 4


def test_a_broken_body_is_resumed_not_begun_again(server: RangeServer, data: bytes) -> None:
    server.faults += [Fault(cut=900_000), Fault(cut=700_000, reset=True)]
    with opened(server, size=SIZE) as remote:
        assert remote.read(0, SIZE) == data
    first, second, third = (int(header[6:].split("-")[0]) for header in server.gets())
    assert (first, second) == (0, 900_000)
    assert 900_000 <= third <= 1_600_000
    assert server.sent <= SIZE + 700_000


def test_failures_without_end_are_given_up_on(server: RangeServer) -> None:
    server.always = Fault(status=503)
    with opened(server, size=SIZE) as remote, pytest.raises(SourceError, match="4 times in a row"):
        remote.read(0, 10)
    assert len(server.gets()) == 4
    server.always = Fault(cut=10)
    with (
        opened(server, size=SIZE) as remote,
        pytest.raises(SourceError, match=r"a\.zip failed 4 times in a row.*data\.mirror"),
    ):
        remote.read(0, SIZE)


def test_progress_makes_up_for_failures(server: RangeServer, data: bytes) -> None:
    server.faults += [Fault(cut=250_000)] * 11
    retries = RetryPolicy(attempts=4, first_seconds=0.001, progress_bytes=200_000)
    with RemoteFile(server.url("a.zip"), SIZE, retries=retries) as remote:
        assert remote.read(0, SIZE) == data
    assert len(server.gets()) == 12


def test_a_server_that_is_gone_is_given_up_on() -> None:
    with (
        silent_port() as url,
        RemoteFile(url, 10, retries=QUICK) as remote,
        pytest.raises(SourceError, match=r"4 times in a row, last with: ConnectError"),
    ):
        remote.read(0, 10)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "wants a password"),
        (403, "forbids it; download the file by hand"),
        (404, "no such file; check the address"),
        (410, "no longer has it"),
        (412, "ETag changed"),
        (416, "shorter file"),
        (418, r"answered 418 and name another server with data\.mirror"),
    ],
)
def test_refusals_are_not_tried_again(server: RangeServer, status: int, words: str) -> None:
    server.always = Fault(status=status)
    with opened(server, size=SIZE) as remote, pytest.raises(SourceError, match=words):
        remote.read(0, 10)
    assert len(server.gets()) == 1


def test_another_file_under_the_address_is_refused(server: RangeServer, data: bytes) -> None:
    with (
        opened(server, size=SIZE, etag='"old"') as remote,
        pytest.raises(SourceError, match="ETag changed"),
    ):
        remote.read(0, 10)
    with (
        opened(server, size=SIZE + 1) as remote,
        pytest.raises(SourceError, match=f"has {SIZE} bytes, not {SIZE + 1}"),
    ):
        remote.read(0, 10)
    with opened(server) as remote:
        assert remote.read(0, 10) == data[:10]
        server.files["a.zip"].write_bytes(data[::-1])
        with pytest.raises(SourceError, match="ETag changed"):
            remote.read(0, 10)


def test_a_server_that_checks_no_etag_is_checked(server: RangeServer) -> None:
    """A weak ETag is not sent, by the standard, but is looked at."""
    server.etags["a.zip"] = 'W/"new"'
    with opened(server, size=SIZE, etag='W/"new"') as remote:
        assert len(remote.read(0, 10)) == 10
    with (
        opened(server, size=SIZE, etag='W/"old"') as remote,
        pytest.raises(SourceError, match='has ETag W/"new", not W/"old"'),
    ):
        remote.read(0, 10)


@pytest.mark.parametrize(
    "told",
    ["bytes 1-10/3000000", "bytes 0-10/3000000", "bytes 0-9/999", "bytes */3000000", "", "x"],
)
def test_an_answer_to_another_question_is_refused(server: RangeServer, told: str) -> None:
    server.always = Fault(headers=(("Content-Range", told),))
    with opened(server, size=SIZE) as remote, pytest.raises(SourceError):
        remote.read(0, 10)
    assert len(server.gets()) == 1


def test_ignored_ranges_never_read_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "huge.zip"
    with path.open("wb") as stream:
        stream.truncate(900 << 30)
    with (
        RangeServer({"a.zip": path}, always=Fault(whole=True), head_faults=[Fault()]) as server,
        opened(server) as remote,
        pytest.raises(SourceError, match=r"ignores ranges .*data\.access=download"),
    ):
        remote.read(1000, 10)
    assert server.sent < 64 << 20


def test_what_a_server_offers(server: RangeServer, tmp_path: Path) -> None:
    etag = server.etag("a.zip")
    with opened(server) as remote:
        assert remote.look() == (SIZE, etag, True)
        assert server.requests == [("HEAD", "")]
        server.head_faults += [Fault(status=405)]
        assert remote.look() == (SIZE, etag, True)
        server.head_faults += [Fault(status=503), Fault(status=403)]
        assert remote.look() == (SIZE, etag, True)
        server.head_faults += [Fault(headers=(("Accept-Ranges", ""),))]
        server.faults += [Fault(whole=True)]
        assert remote.look() == (SIZE, etag, False)
    with (
        RemoteFile(server.url("none.zip"), retries=QUICK) as remote,
        pytest.raises(SourceError, match=r"none\.zip: the server answered 404"),
    ):
        remote.look()


def test_redirects_are_followed_and_secrets_not_told(server: RangeServer, data: bytes) -> None:
    server.redirects["moved"] = server.url("a.zip") + "?signature=secret"
    with RemoteFile(server.url("moved?token=hidden"), retries=QUICK) as remote:
        assert remote.read(7, 7) == data[7:14]
        server.always = Fault(status=404)
        with pytest.raises(SourceError) as caught:
            remote.read(7, 7)
    assert "hidden" not in str(caught.value) and "secret" not in str(caught.value)
    server.always = Fault()
    server.redirects["ring"] = server.url("ring")
    with (
        RemoteFile(server.url("ring"), retries=QUICK) as remote,
        pytest.raises(SourceError, match="cannot be requested"),
    ):
        remote.look()


def test_waits_double_are_spread_and_honour_the_server(server: RangeServer) -> None:
    waits: list[float] = []
    retries = RetryPolicy(first_seconds=1, longest_seconds=4, attempts=7, sleep=waits.append)
    asked = [Fault(status=429, headers=(("Retry-After", wait),)) for wait in ("9", "999999")]
    server.faults += [Fault(status=503)] * 4 + asked
    with RemoteFile(server.url("a.zip"), SIZE, retries=retries) as remote:
        remote.read(0, 1)
    for wait, top in zip(waits[:4], (1, 2, 4, 4), strict=True):
        assert top / 2 <= wait <= top
    assert waits[4:] == [9, 300]


def test_no_more_connections_than_allowed(server: RangeServer, data: bytes) -> None:
    server.always = Fault(silence=0.02)
    with opened(server, size=SIZE, connections=3) as remote, ThreadPoolExecutor(12) as threads:
        found = list(threads.map(lambda start: remote.read(start, 1000), range(0, 40_000, 1000)))
    assert b"".join(found) == data[:40_000]
    assert 2 <= server.most <= 3
    assert server.connections <= 3


def test_a_range_past_the_end_is_refused_unasked(server: RangeServer) -> None:
    with opened(server, size=SIZE) as remote, pytest.raises(SourceError, match="were planned"):
        remote.read(SIZE - 1, 2)
    assert not server.requests


def test_the_whole_in_one_answer(server: RangeServer, data: bytes) -> None:
    server.faults += [Fault(status=503)]
    with opened(server) as remote:
        assert b"".join(remote.whole()) == data
        server.faults += [Fault(cut=1000)]
        with pytest.raises(SourceError, match=r"broke off .* cannot resume"):
            b"".join(remote.whole())

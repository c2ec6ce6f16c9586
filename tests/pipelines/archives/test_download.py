"""Whole archives: in parts, resumed whatever ended the last attempt, checked before they appear."""

import errno
import hashlib
import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.archives import download as module
from pipelines.archives.download import Download, download
from pipelines.archives.known_archives import Published
from storage.errors import IntegrityError, LockedError, MachineError, SourceError
from storage.files import only_one
from storage.retry_policy import RetryPolicy
from tests.range_server import Fault, RangeServer

QUICK = RetryPolicy(attempts=4, first_seconds=0.001, longest_seconds=0.002, silence_seconds=1)
PART = 100_000
SIZE = 1_234_567
DATA = random.Random(5).randbytes(SIZE)
SHA1 = hashlib.sha1(DATA).hexdigest()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeServer]:
    monkeypatch.setattr(module, "PART", PART)
    path = tmp_path / "served"
    path.write_bytes(DATA)
    with RangeServer({"a.zip": path}) as running:
        yield running


def wanted(server: RangeServer, **pins: object) -> Published:
    return Published.model_validate({"name": "a.zip", "url": server.url("a.zip"), **pins})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_parts_come_in_parallel_and_are_checked(server: RangeServer, tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.zip"
    server.always = Fault(silence=0.01)
    came: list[int] = []
    checked: list[int] = []
    pins = {"bytes": SIZE, "sha1": SHA1, "md5": hashlib.md5(DATA).hexdigest()}
    order = Download(wanted(server, **pins), path, came.append, checked.append)
    assert download(order, 4, QUICK) == SHA1
    assert path.read_bytes() == DATA
    assert names(path.parent) == ["a.zip"]
    assert sum(came) == sum(checked) == SIZE
    assert 2 <= server.most <= 4
    assert len(server.gets()) == -(-SIZE // PART)


def test_what_is_there_is_only_checked(server: RangeServer, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(DATA)
    assert download(Download(wanted(server, bytes=SIZE, sha1=SHA1), path), 2, QUICK) == SHA1
    assert not server.requests
    unsized = wanted(server, md5=hashlib.md5(DATA).hexdigest())
    assert download(Download(unsized, path), 2, QUICK) == SHA1
    byhand = Published(name="a.zip", url=None, how="ask at the desk")
    assert download(Download(byhand, path), 2, QUICK) == SHA1
    with pytest.raises(SourceError, match=r"a\.zip cannot be downloaded: ask at the desk"):
        download(Download(byhand, tmp_path / "lacking.zip"), 2, QUICK)
    assert not server.requests
    # Of an unknown size, the server is asked; none of it is fetched.
    assert download(Download(wanted(server), path), 2, QUICK) == SHA1
    assert server.gets() == []
    path.write_bytes(DATA[:-1])
    with pytest.raises(IntegrityError, match=f"has {SIZE - 1} bytes, not {SIZE} .*move it away"):
        download(Download(wanted(server), path), 2, QUICK)
    path.write_bytes(DATA[::-1])
    with pytest.raises(IntegrityError, match="is published"):
        download(Download(wanted(server, bytes=SIZE, sha1=SHA1), path), 2, QUICK)
    assert path.exists()


def test_a_failed_download_goes_on_where_it_was(server: RangeServer, tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.zip"
    server.faults += [Fault()] * 5
    server.always = Fault(status=503)
    with pytest.raises(SourceError, match="in a row"):
        download(Download(wanted(server), path), 1, QUICK)
    assert names(path.parent) == ["a.zip.part", "a.zip.part.json"]
    server.always = Fault()
    server.requests.clear()
    came: list[int] = []
    assert download(Download(wanted(server), path, came.append), 1, QUICK) == SHA1
    assert came[0] == 5 * PART
    assert sum(came) == SIZE
    assert server.gets()[0].startswith(f"bytes={5 * PART}-")
    assert len(server.gets()) == 8


def test_cuts_and_errors_on_the_way_cost_nothing(server: RangeServer, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    accidents = [Fault(cut=30_000), Fault(status=503), Fault(cut=50, reset=True), Fault()]
    server.faults += accidents * 4
    retries = RetryPolicy(attempts=20, first_seconds=0.001, longest_seconds=0.002)
    came: list[int] = []
    assert download(Download(wanted(server, sha1=SHA1), path, came.append), 3, retries) == SHA1
    assert sum(came) == SIZE


def test_a_changed_archive_starts_again_and_says_so(
    server: RangeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.zip"
    server.faults += [Fault()] * 5
    server.always = Fault(status=404)
    with pytest.raises(SourceError):
        download(Download(wanted(server), path), 2, QUICK)
    server.always = Fault()
    other = DATA[::-1]
    server.files["a.zip"].write_bytes(other)
    with caplog.at_level(logging.WARNING):
        assert download(Download(wanted(server), path), 2, QUICK) == hashlib.sha1(other).hexdigest()
    assert "starts again" in caplog.text
    assert path.read_bytes() == other


def test_a_change_while_it_comes_is_refused(server: RangeServer, tmp_path: Path) -> None:
    server.faults += [Fault()] * 3 + [Fault(status=412)]
    with pytest.raises(SourceError, match="ETag changed"):
        download(Download(wanted(server), tmp_path / "a.zip"), 1, QUICK)
    assert not (tmp_path / "a.zip").exists()


def test_wrong_sums_are_thrown_away(server: RangeServer, tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.zip"
    for sums in ({"sha1": "0" * 40}, {"md5": "0" * 32}, {"sha256": "0" * 64}):
        with pytest.raises(IntegrityError, match=r"but 0+ is published"):
            download(Download(wanted(server, **sums), path), 2, QUICK)
        assert names(path.parent) == []


def test_another_release_is_refused_before_it_comes(server: RangeServer, tmp_path: Path) -> None:
    for pins in ({"bytes": 5}, {"etag": '"other"'}):
        with pytest.raises(SourceError, match="as published"):
            download(Download(wanted(server, **pins), tmp_path / "a.zip"), 2, QUICK)
    assert server.gets() == []


@pytest.mark.parametrize("tail", ["", "3", '{"half', "7\n8"])
def test_an_unfinished_last_line_counts_for_nothing(
    server: RangeServer, tmp_path: Path, tail: str
) -> None:
    path, state = tmp_path / "a.zip", tmp_path / "a.zip.part.json"
    server.faults += [Fault()] * 4
    server.always = Fault(status=404)
    with pytest.raises(SourceError):
        download(Download(wanted(server), path), 1, QUICK)
    server.always = Fault()
    lines = state.read_text().splitlines()
    assert json.loads(lines[0])["bytes"] == SIZE
    assert [int(line) for line in lines[1:]] == [0, 1, 2, 3]
    # The parts that the tail names were not finished: their bytes are not there.
    state.write_text("\n".join(lines) + "\n" + tail.replace("7\n", ""))
    assert download(Download(wanted(server, sha1=SHA1), path), 1, QUICK) == SHA1


@pytest.mark.parametrize("state", ["", "[]\n", "nonsense\n", '{"part_bytes": 0}\n'])
def test_a_lost_list_begins_anew(server: RangeServer, tmp_path: Path, state: str) -> None:
    path = tmp_path / "a.zip"
    (tmp_path / "a.zip.part").write_bytes(b"x" * 500)
    (tmp_path / "a.zip.part.json").write_text(state)
    assert download(Download(wanted(server), path), 2, QUICK) == SHA1


def test_servers_without_ranges_send_it_in_one(
    server: RangeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.zip"
    server.always = Fault(whole=True)
    server.head_faults += [Fault(whole=True, headers=(("Accept-Ranges", ""),))]
    came: list[int] = []
    with caplog.at_level(logging.WARNING):
        order = Download(wanted(server, sha1=SHA1), path, came.append)
        assert download(order, 4, QUICK) == SHA1
    assert sum(came) == SIZE
    assert "serves no ranges" in caplog.text
    path.unlink()
    server.faults += [Fault(whole=True), Fault(whole=True, cut=5000)]
    server.head_faults += [Fault(status=405)]
    with pytest.raises(SourceError, match="broke off"):
        download(Download(wanted(server), path), 4, QUICK)
    assert not path.exists()


def test_one_at_a_time(server: RangeServer, tmp_path: Path) -> None:
    with (
        only_one(tmp_path / ".a.zip.lock", "downloading"),
        pytest.raises(LockedError, match=r"downloading .*a\.zip is being done by another"),
    ):
        download(Download(wanted(server), tmp_path / "a.zip"), 2, QUICK)


def test_a_disk_without_room_is_told_first(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as stream:
        stream.truncate(900 << 40 >> 8)
    with (
        RangeServer({"a.zip": path}) as server,
        pytest.raises(MachineError, match=r"needs .* GB under"),
    ):
        download(Download(wanted(server), tmp_path / "a.zip"), 2, QUICK)
    assert server.gets() == []


def test_a_disk_that_fills_up_is_told_and_resumed(
    server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, written = tmp_path / "a.zip", os.pwrite, [0]

    def full(file: int, data: bytes, place: int) -> int:
        written[0] += len(data)
        if written[0] > SIZE // 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data, place)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(MachineError, match="no space is left"):
            download(Download(wanted(server), path), 3, QUICK)
    server.requests.clear()
    assert download(Download(wanted(server, sha1=SHA1), path), 3, QUICK) == SHA1
    assert len(server.gets()) < -(-SIZE // PART)


CHILD = """
import sys
from pathlib import Path
from pipelines.archives import download as module
from pipelines.archives.download import Download, download
from pipelines.archives.known_archives import Published
module.PART = 100_000
order = Download(Published(name="a.zip", url=sys.argv[1]), Path(sys.argv[2]))
print(download(order, 3))
"""


def test_kill_9_resumes(server: RangeServer, tmp_path: Path) -> None:
    """Killed at random moments until one call gets through: whole, and little fetched twice."""
    path, state = tmp_path / "a.zip", tmp_path / "a.zip.part.json"
    server.always = Fault(silence=0.03)
    command = [sys.executable, "-c", CHILD, server.url("a.zip"), str(path)]
    parts = 0
    for _ in range(2):
        child = subprocess.Popen(command, cwd=Path(__file__).parents[3])
        # Let it finish at least one part more.
        while not state.exists() or len(state.read_text().split("\n")) - 2 <= parts:
            assert child.poll() is None
            time.sleep(0.005)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        parts = len(state.read_text().split("\n")) - 2
        assert not path.exists()
    server.always = Fault()
    answer = subprocess.run(
        command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == SHA1
    assert path.read_bytes() == DATA
    assert len(server.gets()) <= -(-SIZE // PART) + 2 * 3

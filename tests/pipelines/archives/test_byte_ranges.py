"""Seekable views: files to their readers, few requests to their servers."""

import io
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.archives.byte_ranges import LONGEST_WINDOW, TAIL, RangeStream, Slice
from pipelines.archives.remote_file import RemoteFile
from tests.range_server import RangeServer

SIZE = 3_000_000
DATA = random.Random(0).randbytes(SIZE)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RangeServer]:
    path = tmp_path / "a.zip"
    path.write_bytes(DATA)
    with RangeServer({"a.zip": path}) as running:
        yield running


def test_views_are_files(server: RangeServer) -> None:
    """Random seeks and reads give what they give on the bytes in memory."""
    chance = random.Random(1)
    whole = io.BytesIO(DATA)
    with RemoteFile(server.url("a.zip"), SIZE) as remote:
        stream = RangeStream(remote)
        part = Slice(io.BufferedReader(RangeStream(remote)), 1000, SIZE - 2000)
        inner = io.BytesIO(DATA[1000:-1000])
        for view, oracle in ((stream, whole), (part, inner)):
            for _ in range(60):
                place = chance.randrange(SIZE + 10)
                assert view.seek(place) == oracle.seek(place)
                count = chance.choice([0, 1, 1000, TAIL, 200_000])
                assert view.read(count) == oracle.read(count)
                assert view.tell() == oracle.tell()
            assert view.seek(-5, io.SEEK_END) == oracle.seek(-5, io.SEEK_END)
            assert view.read() == oracle.read()
            with pytest.raises(OSError, match="Invalid argument"):
                view.seek(-1)


def test_what_is_expected_comes_in_one_answer(server: RangeServer) -> None:
    with RemoteFile(server.url("a.zip"), SIZE) as remote:
        stream = RangeStream(remote)
        stream.seek(100)
        stream.expect(2_000_100)
        found = b"".join(stream.read(5000) or b"" for _ in range(400))
    assert found == DATA[100:2_000_100]
    assert server.gets() == ["bytes=100-2000099"]
    assert LONGEST_WINDOW >= 2_000_000


@pytest.mark.parametrize("files", [10, 3000])
def test_a_directory_takes_a_handful_of_requests(
    tmp_path: Path, files: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(files):
            archive.writestr(f"{number:0150d}", b"x" * 100)
    # As of a directory too large for a window.
    monkeypatch.setattr("pipelines.archives.byte_ranges.LONGEST_WINDOW", 1 << 18)
    with RangeServer({"a.zip": path}) as server, RemoteFile(server.url("a.zip")) as remote:
        with zipfile.ZipFile(RangeStream(remote)) as archive:
            assert len(archive.namelist()) == files
        assert len(server.requests) == (2 if files == 10 else 3)
        assert sum(method == "GET" for method, _ in server.requests) <= 2

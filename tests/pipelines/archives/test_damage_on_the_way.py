"""Bytes that a server delivers damaged: fetched once more, and only then believed."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.archives.sources import Fetcher, Source, extract
from pipelines.archives.zip_archive import ArchiveReader
from storage.errors import IntegrityError, SourceError
from tests.pipelines.archives.test_sources import METHODS, QUICK, SONG, local, plain, tracks_of
from tests.range_server import Fault, RangeServer
from tests.synthesised import write_zip


@pytest.fixture(scope="module")
def server() -> Iterator[RangeServer]:
    with RangeServer({}) as running:
        yield running


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("place", ["header", "data"])
def test_damage_on_the_way_is_fetched_once_more(
    server: RangeServer, tmp_path: Path, method: int, place: str
) -> None:
    """A byte that is flipped once costs a request; one that is flipped always, the track."""
    path = write_zip(tmp_path / "a.zip", {"a.mp3": SONG, "b.mp3": b"b" * 999}, method)
    server.files["flip.zip"] = path
    url = server.url("flip.zip")
    source = Source(location=url, bytes=path.stat().st_size, etag=server.etag("flip.zip"))
    tracks, scratch = tracks_of(path), tmp_path / "scratch"
    flip = Fault(flip=2 if place == "header" else 50_000)
    server.requests.clear()
    server.faults[:] = [flip]
    assert plain(source, tracks, scratch) == [SONG, b"b" * 999]
    assert len(server.requests) == 3
    server.faults[:] = [flip] * 3
    with pytest.raises(SourceError if place == "header" else IntegrityError):
        plain(source, tracks[:1], scratch)
    assert len(server.faults) == 1
    server.faults.clear()
    assert not list(scratch.iterdir())


def test_what_was_written_of_damaged_bytes_is_removed(server: RangeServer, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.mp3": SONG})
    server.files["part.zip"] = path
    source = Source(location=server.url("part.zip"), bytes=path.stat().st_size)
    (track,) = tracks_of(path)
    server.faults[:] = [Fault(flip=399_999)]
    with (
        Fetcher(source, retries=QUICK) as fetcher,
        fetcher.fetched(track, tmp_path / "scratch") as extent,
        (tmp_path / "out").open("w+b") as target,
    ):
        target.write(b"before")
        assert extract(extent, track, target) == hashlib.sha1(SONG).hexdigest()
    assert (tmp_path / "out").read_bytes() == b"before" + SONG


def test_a_local_archive_is_not_read_twice(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.mp3": SONG})
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="its CRC is"):
        plain(local(path), tracks_of(path), tmp_path / "scratch")


@pytest.mark.parametrize("extracts", [False, True])
def test_members_of_an_archive_are_fetched_once_more(
    server: RangeServer, tmp_path: Path, extracts: bool
) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.mp3": SONG, "b.mp3": b"b"})
    server.files["twice.zip"] = path
    source = Source(location=server.url("twice.zip"), bytes=path.stat().st_size)

    def read() -> bytes:
        with ArchiveReader(source, QUICK) as reader:
            return extracted(reader, "a.mp3", tmp_path / "o") if extracts else reader.read("a.mp3")

    # The directory comes first, unharmed.
    server.faults[:] = [Fault(), Fault(flip=1000)]
    assert read() == SONG
    server.faults[:] = [Fault(), *[Fault(flip=1000)] * 3]
    with pytest.raises(IntegrityError, match="its CRC is"):
        read()
    assert len(server.faults) == 1
    server.faults.clear()


def test_a_directory_is_fetched_once_more(server: RangeServer, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.mp3": b"a"})
    server.files["list.zip"] = path
    source = Source(location=server.url("list.zip"), bytes=path.stat().st_size)
    # The first byte of what ends a zip.
    flip = Fault(flip=source.bytes - 22)
    server.faults[:] = [flip]
    with ArchiveReader(source, QUICK) as reader:
        assert not server.faults
        assert reader.read("a.mp3") == b"a"
    server.faults[:] = [flip] * 3
    with pytest.raises(IntegrityError, match="no whole zip"):
        ArchiveReader(source, QUICK)
    assert len(server.faults) == 1
    server.faults.clear()


def extracted(reader: ArchiveReader, name: str, path: Path) -> bytes:
    path.unlink(missing_ok=True)
    try:
        reader.extract(name, path)
    finally:
        assert [each.name for each in path.parent.glob("*.arriving")] == []
    return path.read_bytes()

"""Three ways to an archive's bytes, one reader: the same bytes by each, and no others."""

import errno
import hashlib
import io
import random
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.archives.download import Download, download
from pipelines.archives.known_archives import Published
from pipelines.archives.sources import Extent, Fetcher, Source, extract, pinned
from pipelines.archives.zip_archive import ArchiveReader
from storage.errors import IntegrityError, MachineError, SourceError
from storage.records import Track
from storage.retry_policy import RetryPolicy
from tests.range_server import Fault, RangeServer
from tests.synthesised import DAY, write_zip

QUICK = RetryPolicy(attempts=3, first_seconds=0.001, longest_seconds=0.002, silence_seconds=2)
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
SONG = random.Random(3).randbytes(400_000)


def tracks_of(path: Path) -> list[Track]:
    """Return an archive's members as planned tracks."""
    with ArchiveReader(path) as reader:
        return [
            Track(id=f"{number:06d}", member=member.name, **place)
            for number, member in enumerate(reader.members())
            if (place := {k: v for k, v in member._asdict().items() if k != "name"})
        ]


def plain(source: Source, tracks: Sequence[Track], scratch: Path) -> list[bytes]:
    """Return the tracks' bytes; each sha1 is the bytes' own, and no file stays behind."""
    found = []
    with Fetcher(source, retries=QUICK) as fetcher:
        for track in tracks:
            target = io.BytesIO()
            with fetcher.fetched(track, scratch) as extent:
                sha1 = extract(extent, track, target)
            assert sha1 == hashlib.sha1(target.getvalue()).hexdigest()
            found.append(target.getvalue())
    assert not scratch.exists() or not list(scratch.iterdir())
    return found


def local(path: Path) -> Source:
    return Source(location=str(path), bytes=path.stat().st_size)


@pytest.fixture(scope="module")
def server() -> Iterator[RangeServer]:
    with RangeServer({}) as running:
        yield running


contents = st.one_of(
    st.binary(max_size=300), st.integers(0, 200_000).map(lambda size: SONG[:size]),
    st.integers(0, 500_000).map(bytes),
)  # fmt: skip
names = st.text("abcé/ _.", min_size=1, max_size=60).filter(
    lambda name: not name.endswith("/") and not name.startswith("/") and ".." not in name
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    members=st.dictionaries(names, st.tuples(contents, st.sampled_from(METHODS)), min_size=1),
    streamed=st.booleans(),
)
def test_remote_local_and_downloaded_give_the_same_bytes(
    members: dict[str, tuple[bytes, int]],
    streamed: bool,
    server: RangeServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("archive")
    path = folder / "a.zip"
    # Writers that cannot seek back leave sizes and CRC behind the data.
    with path.open("wb") as stream:
        target = NoSeeking(stream) if streamed else stream
        with zipfile.ZipFile(target, "w") as archive:
            for name, (data, method) in members.items():
                info = zipfile.ZipInfo(name, DAY)
                archive.writestr(info, data, method)
    server.files["a.zip"] = path
    url = server.url("a.zip")
    remote = Source(location=url, bytes=path.stat().st_size, etag=server.etag("a.zip"))
    copy = folder / "copy" / "a.zip"
    download(Download(Published(name="a.zip", url=url), copy), retries=QUICK)
    tracks = tracks_of(path)
    expected = [members[track.member][0] for track in tracks]
    for source in (local(path), remote, local(copy)):
        assert plain(source, tracks, folder / "scratch") == expected


class NoSeeking(io.RawIOBase):
    """A stream that is only written."""

    def __init__(self, stream: io.BufferedWriter) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        return self._stream.write(data)


def test_a_member_takes_one_request_that_ends_with_the_file(
    server: RangeServer, tmp_path: Path
) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.mp3": SONG, "b.mp3": b"b"}, zipfile.ZIP_BZIP2)
    server.files["one.zip"] = path
    source = Source(location=server.url("one.zip"), bytes=path.stat().st_size)
    server.requests.clear()
    assert plain(source, tracks_of(path), tmp_path / "scratch") == [SONG, b"b"]
    assert len(server.requests) == 2
    assert server.gets()[1].endswith(f"-{source.bytes - 1}")


def test_a_long_local_header_takes_a_second_request(server: RangeServer, tmp_path: Path) -> None:
    path = tmp_path / "long.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("a.mp3", DAY)
        info.extra = b"\xfe\xca" + (5000).to_bytes(2, "little") + b"x" * 5000
        archive.writestr(info, SONG)
        archive.writestr("b.mp3", b"b" * 9000)
    server.files["long.zip"] = path
    source = Source(location=server.url("long.zip"), bytes=path.stat().st_size)
    tracks = tracks_of(path)
    server.requests.clear()
    scratch = tmp_path / "scratch"
    assert plain(source, tracks[:1], scratch) == plain(local(path), tracks[:1], scratch) == [SONG]
    assert len(server.requests) == 2


def test_threads_share_a_fetcher(server: RangeServer, tmp_path: Path) -> None:
    members = {f"{number}.mp3": SONG[number : number + 50_000] for number in range(40)}
    path = write_zip(tmp_path / "many.zip", members, zipfile.ZIP_DEFLATED)
    server.files["many.zip"] = path
    source = Source(location=server.url("many.zip"), bytes=path.stat().st_size)
    server.faults += [Fault(cut=20_000), Fault(status=503)] * 5
    server.most = 0
    retries = replace(QUICK, attempts=20)
    with Fetcher(source, 4, retries) as fetcher, ThreadPoolExecutor(8) as threads:

        def take(track: Track) -> bytes:
            target = io.BytesIO()
            with fetcher.fetched(track, tmp_path / "scratch") as extent:
                extract(extent, track, target)
            return target.getvalue()

        assert list(threads.map(take, tracks_of(path))) == list(members.values())
    assert server.most <= 4
    assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize(
    "changed",
    [
        {"member": "b.mp3"},
        {"method": 8},
        {"bytes": 399_999},
        {"packed_bytes": 77},
        {"crc": 1},
        {"offset": 7},
        {"offset": 900_000_000},
        {"method": 14},
    ],
    ids=str,
)
def test_another_archive_than_planned_fails_by_name(
    tmp_path: Path, server: RangeServer, changed: dict[str, object]
) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.mp3": SONG}, zipfile.ZIP_BZIP2)
    server.files["planned.zip"] = path
    track = tracks_of(path)[0].model_copy(update=changed)
    there = Source(location=server.url("planned.zip"), bytes=path.stat().st_size)
    for source in (local(path), there):
        with pytest.raises(SourceError, match="plan again"):
            plain(source, [track], tmp_path / "scratch")


def test_a_changed_archive_is_refused(tmp_path: Path, server: RangeServer) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.mp3": SONG})
    tracks = tracks_of(path)
    with pytest.raises(SourceError, match=r"a\.zip has \d+ bytes, not 5 as when it was planned"):
        plain(local(path).model_copy(update={"bytes": 5}), tracks, tmp_path)
    with pytest.raises(SourceError, match="cannot be found"):
        plain(Source(location=str(tmp_path / "none.zip")), tracks, tmp_path)
    server.files["changed.zip"] = path
    source = Source(location=server.url("changed.zip"), bytes=path.stat().st_size, etag='"old"')
    with pytest.raises(SourceError, match="ETag changed"):
        plain(source, tracks, tmp_path)
    with pytest.raises(SourceError, match="folders cannot be listed"):
        Fetcher(Source(location=server.url("x"), form="folder"))


def test_a_folders_files_are_read_where_they_are(tmp_path: Path) -> None:
    root = tmp_path / "songs"
    (root / "a").mkdir(parents=True)
    path = root / "a" / "b.wav"
    path.write_bytes(SONG)
    source = Source(location=str(root), form="folder")
    track = Track(id="x", member="a/b.wav", bytes=len(SONG))
    with Fetcher(source) as fetcher, fetcher.fetched(track, tmp_path) as extent:
        assert extent[:3] == (path, 0, len(SONG))
    assert plain(source, [track], tmp_path / "scratch") == [SONG]
    with pytest.raises(SourceError, match="has 400000 bytes, not 7 as when"):
        plain(source, [track.model_copy(update={"bytes": 7})], tmp_path)
    with pytest.raises(SourceError, match="leads out of"):
        plain(source, [track.model_copy(update={"member": "../x.wav"})], tmp_path)
    with pytest.raises(SourceError, match=r"none\.wav was planned but cannot be found"):
        plain(source, [track.model_copy(update={"member": "none.wav"})], tmp_path)
    gone = track.model_copy(update={"member": "gone.wav"})
    with pytest.raises(IntegrityError, match=r"gone\.wav in .* cannot be read"):
        extract(Extent(root / "gone.wav", 0, 1), gone, io.BytesIO())
    with pytest.raises(IntegrityError, match="ends 5 bytes early"):
        extract(
            Extent(path, 0, 400_000),
            track.model_copy(update={"bytes": 400_005}),
            io.BytesIO(),
        )


def test_an_archive_is_pinned_to_what_its_server_has(tmp_path: Path, server: RangeServer) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.mp3": SONG})
    server.files["pinned.zip"] = path
    known = Published(name="pinned.zip", url=server.url("pinned.zip"))
    size, etag = path.stat().st_size, server.etag("pinned.zip")
    assert pinned(known, QUICK) == Source(location=known.address(), bytes=size, etag=etag)
    with pytest.raises(SourceError, match="not 5 as published"):
        pinned(known.model_copy(update={"bytes": 5}), QUICK)
    server.head_faults.append(Fault(headers=(("Accept-Ranges", ""),)))
    server.faults.append(Fault(whole=True))
    with pytest.raises(SourceError, match=r"ignores ranges; .*data\.access=download"):
        pinned(known, QUICK)
    with pytest.raises(SourceError, match="ask at"):
        pinned(Published(name="a.zip", url=None, how="ask at the desk"), QUICK)


def test_a_full_disk_is_told_and_nothing_stays(
    tmp_path: Path, server: RangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.mp3": SONG})
    server.files["full.zip"] = path
    source = Source(location=server.url("full.zip"), bytes=path.stat().st_size)

    class Full(io.FileIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    real = tempfile.NamedTemporaryFile

    def named(**where: Any) -> Any:
        made = real(**where)
        made.file = Full(made.name, "r+")
        return made

    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "NamedTemporaryFile", named)
        with pytest.raises(MachineError, match="no space is left"):
            plain(source, tracks_of(path), tmp_path / "scratch")
    assert plain(source, tracks_of(path), tmp_path / "scratch") == [SONG]

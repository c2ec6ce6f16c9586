"""Archives: read in place, nothing trusted."""

import hashlib
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from pipelines.archives import zip_archive
from pipelines.archives.known_archives import BETA
from pipelines.archives.sources import Fetcher, Source, extract
from pipelines.archives.zip_archive import ArchiveReader, check_archive
from storage.errors import DataError, IntegrityError, SourceError
from storage.records import Track
from storage.retry_policy import RetryPolicy
from tests.range_server import Fault, RangeServer
from tests.synthesised import DAY, write_zip

MEMBERS = {"a/one.mp3": b"one" * 5000, "a/two.mp3": b"two" * 5000, "empty": b""}
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]


def alter(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


def test_checksums_are_checked_in_one_pass(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "songs.zip", MEMBERS)
    sha1 = hashlib.sha1(path.read_bytes()).hexdigest()
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    seen: list[int] = []
    assert check_archive(path, sha1.upper(), md5, seen.append) == sha1
    assert sum(seen) == path.stat().st_size
    for wrong in (("0" * 40, md5), (sha1, "0" * 32), (sha1, md5, None, "0" * 64)):
        with pytest.raises(IntegrityError, match=r"songs\.zip has .* but 0+ is published"):
            check_archive(path, *wrong)


def test_a_missing_archive_names_the_remedy(tmp_path: Path) -> None:
    for open_it in (check_archive, ArchiveReader):
        with pytest.raises(DataError, match=r"none\.zip is missing.*--set data\.root=DIR"):
            open_it(tmp_path / "none.zip")


@pytest.mark.parametrize("method", METHODS)
def test_members_are_read_whatever_their_method(tmp_path: Path, method: int) -> None:
    with ArchiveReader(write_zip(tmp_path / "songs.zip", MEMBERS, method)) as reader:
        assert [member.name for member in reader.members()] == list(MEMBERS)
        assert {name: reader.read(name) for name in MEMBERS} == MEMBERS
        assert reader.member("a/one.mp3").bytes == 15_000
        reader.extract("a/two.mp3", tmp_path / "out" / "two.mp3")
    assert (tmp_path / "out" / "two.mp3").read_bytes() == MEMBERS["a/two.mp3"]


def test_zip64_is_read(tmp_path: Path) -> None:
    path = tmp_path / "songs.zip"
    with (
        zipfile.ZipFile(path, "w") as target,
        target.open(zipfile.ZipInfo("a.mp3", DAY), "w", force_zip64=True) as member,
    ):
        member.write(b"sound")
    with ArchiveReader(path) as reader:
        assert reader.read("a.mp3") == b"sound"


def write_huge(path: Path) -> None:
    """Write a zip64 archive whose last members lie beyond 4 GiB, on hardly any disk."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("first.mp3", DAY), b"first")
        assert archive.fp is not None
        # A hole where an honest archive has other members.
        archive.fp.seek(5 << 30)
        archive.start_dir = archive.fp.tell()
        for name in ("second.mp3", "third.mp3"):
            info = zipfile.ZipInfo(name, DAY)
            archive.writestr(info, name.encode() * 500, zipfile.ZIP_BZIP2)


def test_members_beyond_four_gib_are_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.zip"
    write_huge(path)
    assert path.stat().st_blocks * 512 < 1 << 20
    with RangeServer({"huge.zip": path}) as server:
        there = Source(
            location=server.url("huge.zip"),
            bytes=path.stat().st_size,
            etag=server.etag("huge.zip"),
        )
        for archive in (path, there):
            with ArchiveReader(archive) as reader:
                assert reader.read("first.mp3") == b"first"
                assert reader.read("third.mp3") == b"third.mp3" * 500
                member = reader.member("third.mp3")
                source = reader.source
            assert source == (there if archive == there else Source(
                location=str(path), bytes=path.stat().st_size
            ))  # fmt: skip
            assert member.offset > 5 << 30
            place = {k: v for k, v in member._asdict().items() if k != "name"}
            track = Track(id="000003", member=member.name, **place)
            with (
                Fetcher(source) as fetcher,
                fetcher.fetched(track, tmp_path) as extent,
                (tmp_path / "out").open("wb") as target,
            ):
                extract(extent, track, target)
            assert (tmp_path / "out").read_bytes() == b"third.mp3" * 500
        assert server.sent < 1 << 20


def test_a_remote_archive_is_read_in_a_handful_of_requests(tmp_path: Path) -> None:
    members = {f"{number:06d}.mp3": bytes([number % 251]) * 700 for number in range(3000)}
    members["checksums"] = bytes(range(256)) * 10_000
    path = write_zip(tmp_path / "songs.zip", members)
    quick = RetryPolicy(attempts=3, first_seconds=0.001)
    with RangeServer({"songs.zip": path}) as server:
        with ArchiveReader(Source(location=server.url("songs.zip")), quick) as reader:
            assert [member.name for member in reader.members()] == list(members)
            assert len(server.requests) <= 3
            assert reader.read("checksums") == members["checksums"]
            assert len(server.requests) <= 4
            assert reader.source.etag == server.etag("songs.zip")
        pinned = Source(location=server.url("songs.zip"), bytes=path.stat().st_size, etag='"old"')
        with pytest.raises(SourceError, match="plan again"):
            ArchiveReader(pinned, quick)
        server.always = Fault(status=404)
        with pytest.raises(SourceError, match=r"songs\.zip: the server answered 404"):
            ArchiveReader(Source(location=server.url("songs.zip")), quick)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_damage_is_found(tmp_path: Path, method: int, place: float) -> None:
    path = write_zip(tmp_path / "songs.zip", {"a.mp3": bytes(range(256)) * 40}, method)
    with zipfile.ZipFile(path) as source:
        size = source.getinfo("a.mp3").compress_size
    data = bytearray(path.read_bytes())
    data[35 + int(place * size)] ^= 0x55
    path.write_bytes(data)
    with ArchiveReader(path) as reader:
        with pytest.raises(IntegrityError, match=r"a\.mp3 in .*songs\.zip is damaged"):
            reader.read("a.mp3")
        with pytest.raises(IntegrityError, match="is damaged"):
            reader.extract("a.mp3", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip" * 100])
def test_what_is_no_zip_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "songs.zip"
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"songs\.zip is no whole zip archive"):
        ArchiveReader(path)


def test_a_download_cut_short_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "songs.zip", MEMBERS)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(IntegrityError, match="no whole zip archive"):
        ArchiveReader(path)


@pytest.mark.parametrize("name", ["../x.mp3", "/etc/x", "a/../../x", "C:x", "a\\x", "a\nb"])
def test_names_that_lead_outside_are_refused(tmp_path: Path, name: str) -> None:
    path = write_zip(tmp_path / "songs.zip", {"a.mp3": b"", name: b"x"})
    with pytest.raises(IntegrityError, match="leads out of its folder"):
        ArchiveReader(path)


def test_links_and_encrypted_members_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.mp3", DAY)
    link.external_attr = 0o120777 << 16
    path = tmp_path / "links.zip"
    with zipfile.ZipFile(path, "w") as target:
        target.writestr(link, "/etc/passwd")
    with pytest.raises(IntegrityError, match=r"link\.mp3 .* symbolic"):
        ArchiveReader(path)
    path = write_zip(tmp_path / "locked.zip", {"a.mp3": b"x"})
    # The flags of the central directory's only entry.
    alter(path, b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01")
    with pytest.raises(IntegrityError, match="encrypted"):
        ArchiveReader(path)


def test_a_member_that_holds_more_than_promised_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "bomb.zip", {"a.mp3": b"\0" * 10_000_000}, zipfile.ZIP_BZIP2)
    alter(path, struct.pack("<L", 10_000_000), struct.pack("<L", 1000))
    with ArchiveReader(path) as reader, pytest.raises(IntegrityError, match=r"a\.mp3 in"):
        reader.read("a.mp3")


@pytest.mark.parametrize("method", METHODS[1:])
def test_a_bomb_is_never_inflated(tmp_path: Path, method: int) -> None:
    """The standard library's reader would hold all 200 MB of it at once."""
    path = write_zip(tmp_path / "bomb.zip", {"a.mp3": bytes(200_000_000)}, method)
    alter(path, struct.pack("<L", 200_000_000), struct.pack("<L", 1000))
    with ArchiveReader(path) as reader:
        tracemalloc.start()
        with pytest.raises(IntegrityError, match=r"a\.mp3 in .* holds more than 1000 bytes"):
            reader.read("a.mp3")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 10_000_000


def test_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "songs.zip", MEMBERS)
    with ArchiveReader(path) as reader:
        second = reader.member("a/two.mp3").offset
    # The directory's second entry points at the first member.
    alter(path, struct.pack("<L", second) + b"a/two", struct.pack("<L", 0) + b"a/two")
    with pytest.raises(IntegrityError, match=r"a/one\.mp3 in .* reaches into what follows"):
        ArchiveReader(path)


def test_a_header_that_contradicts_the_directory_is_damage(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "songs.zip", MEMBERS)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"a/one", b"a/eno", 1))
    with (
        ArchiveReader(path) as reader,
        pytest.raises(IntegrityError, match=r"a/one\.mp3 in .*damaged.*'a/eno\.mp3' lies there"),
    ):
        reader.read("a/one.mp3")


def test_unknown_methods_are_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "songs.zip", {"a.mp3": b"a"}, zipfile.ZIP_LZMA)
    with pytest.raises(IntegrityError, match=r"a\.mp3 in .* stored by method 14"):
        ArchiveReader(path)


def test_a_withdrawn_release_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / "songs.zip", MEMBERS)
    sha1 = hashlib.sha1(path.read_bytes()).hexdigest()
    monkeypatch.setitem(BETA, sha1, "fma_small.zip")
    with pytest.raises(IntegrityError, match="withdrawn beta release"):
        check_archive(path, sha1)


def test_absurd_promises_are_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zip_archive, "MAXIMUM_MEMBER", 100)
    with (
        ArchiveReader(write_zip(tmp_path / "songs.zip", MEMBERS)) as reader,
        pytest.raises(IntegrityError, match="claims 15000 bytes"),
    ):
        reader.read("a/one.mp3")


def test_an_unplanned_name_is_refused(tmp_path: Path) -> None:
    with (
        ArchiveReader(write_zip(tmp_path / "songs.zip", MEMBERS)) as reader,
        pytest.raises(IntegrityError, match=r"has no member b\.mp3"),
    ):
        reader.read("b.mp3")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_listed_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "songs.zip"
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("a.mp3", "1")
        target.writestr("a.mp3", "2")
    with pytest.raises(IntegrityError, match="lists a member twice"):
        ArchiveReader(path)

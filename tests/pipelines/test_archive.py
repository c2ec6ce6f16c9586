"""Archives: read in place, nothing trusted."""

import hashlib
import struct
import zipfile
from pathlib import Path

import pytest

from pipelines import archive
from pipelines.archive import ArchiveReader, check_archive
from storage.errors import DataError, IntegrityError
from tests.synthesised import DAY, write_zip

MEMBERS = {"a/one.mp3": b"one" * 5000, "a/two.mp3": b"two" * 5000, "empty": b""}
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


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
    for wrong in (("0" * 40, md5), (sha1, "0" * 32)):
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
    with ArchiveReader(write_zip(tmp_path / "songs.zip", {name: b"x"})) as reader:
        with pytest.raises(IntegrityError, match="leads out of its folder"):
            reader.members()
        with pytest.raises(IntegrityError, match="leads out of its folder"):
            reader.extract(name, tmp_path / "out")


def test_links_and_encrypted_members_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.mp3", DAY)
    link.external_attr = 0o120777 << 16
    path = tmp_path / "links.zip"
    with zipfile.ZipFile(path, "w") as target:
        target.writestr(link, "/etc/passwd")
    with (
        ArchiveReader(path) as reader,
        pytest.raises(IntegrityError, match=r"link\.mp3 .* symbolic"),
    ):
        reader.members()
    path = write_zip(tmp_path / "locked.zip", {"a.mp3": b"x"})
    # The flags of the central directory's only entry.
    alter(path, b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01")
    with ArchiveReader(path) as reader, pytest.raises(IntegrityError, match="encrypted"):
        reader.read("a.mp3")


def test_a_member_that_holds_more_than_promised_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "bomb.zip", {"a.mp3": b"\0" * 10_000_000}, zipfile.ZIP_BZIP2)
    alter(path, struct.pack("<L", 10_000_000), struct.pack("<L", 1000))
    with ArchiveReader(path) as reader, pytest.raises(IntegrityError, match=r"a\.mp3 in"):
        reader.read("a.mp3")


def test_absurd_promises_are_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAXIMUM_MEMBER", 100)
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

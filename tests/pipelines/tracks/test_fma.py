"""The archive's listing, checksums and table -> tracks."""

import hashlib
import zipfile
import zlib
from pathlib import Path

import pytest

from pipelines.archives.sources import Source
from pipelines.tracks.fma import read_tracks
from storage.errors import DataError, IntegrityError, ManifestError, SourceError
from storage.records import Track
from storage.retry_policy import RetryPolicy
from tests.range_server import Fault, RangeServer
from tests.synthesised import tracks_csv, write_fma, write_zip

SONGS = {"000002": b"two", "000004": b"four", "155320": b"last", "000011": b"unlisted"}


def test_tracks_carry_listing_checksums_and_metadata(tmp_path: Path) -> None:
    archives = write_fma(tmp_path, SONGS)
    with zipfile.ZipFile(archives.archive) as archive:
        info = archive.getinfo("fma_tiny/000/000002.mp3")
    tracks = read_tracks(*archives)
    assert [track.id for track in tracks] == sorted(SONGS)
    assert tracks[0] == Track(
        id="000002",
        member="fma_tiny/000/000002.mp3",
        bytes=3,
        crc=zlib.crc32(b"two"),
        offset=info.header_offset,
        packed_bytes=info.compress_size,
        method=zipfile.ZIP_BZIP2,
        sha1=hashlib.sha1(b"two").hexdigest(),
        split="training",
        artist="Ünal, 000002",
        title='Song "000002"',
        genre="Folk",
        licence="CC BY",
    )
    assert tracks[1].split == "validation"
    assert (tracks[2].id, tracks[2].title, tracks[2].artist) == ("000011", "", "")


def test_an_archive_without_checksums_has_none(tmp_path: Path) -> None:
    archives = write_fma(tmp_path, SONGS)
    write_zip(archives.archive, {"fma/000/000002.mp3": b"two"}, zipfile.ZIP_BZIP2)
    assert [track.sha1 for track in read_tracks(*archives)] == [None]


ODD = {
    "000/000002.MP3": b"second", "000/3.mp3": b"three", "000/more/000004.mp3": b"four",
    "155/155320.flac": b"other", "extra/Ada - Song.ogg": b"song", "000/000002 (1).mp3": b"two",
}  # fmt: skip
NONE = ("__MACOSX/000/._000002.mp3", "000/._000004.mp3", "README.txt", "@eaDir/000/a.mp3")


def test_audio_by_other_names_is_a_track_that_changes_no_other(tmp_path: Path) -> None:
    archives = write_fma(tmp_path, SONGS)
    usual = read_tracks(*archives)
    with zipfile.ZipFile(archives.archive, "a") as archive:
        for name, data in ODD.items():
            archive.writestr(f"fma_tiny/{name}", data)
        for name in NONE:
            archive.writestr(name, b"x")
    tracks = read_tracks(*archives)
    assert tracks[: len(usual)] == usual
    odd = {track.member.removeprefix("fma_tiny/"): track for track in tracks[len(usual) :]}
    assert odd.keys() == ODD.keys()
    for name, track in odd.items():
        assert track.id == "x" + hashlib.sha1(f"fma_tiny/{name}".encode()).hexdigest()[:12]
        assert (track.bytes, track.crc) == (len(ODD[name]), zlib.crc32(ODD[name]))
    # What the number says of a track, above all that it validates, is not lost.
    assert odd["000/more/000004.mp3"].split == "validation"
    assert odd["000/000002.MP3"].artist == "Ünal, 000002"
    assert odd["155/155320.flac"].artist == "Ünal, 155320"
    assert (odd["000/3.mp3"].title, odd["extra/Ada - Song.ogg"].title) == ("", "")


def test_a_copy_by_another_name_is_the_duplicate(tmp_path: Path) -> None:
    archives = write_fma(tmp_path, {"155320": b"last"})
    sums = f"{hashlib.sha1(b'last').hexdigest()}  155/155320.mp3\n" * 2
    members = {
        "fma/checksums": sums.replace("320.mp3", "320.MP3", 1).encode(),
        "fma/155/155320.mp3": b"last",
        "fma/155/155320.MP3": b"last",
    }
    write_zip(archives.archive, members)
    first, second = read_tracks(*archives)
    assert (first.id, first.duplicate_of, second.duplicate_of) == ("155320", "", "155320")


@pytest.mark.parametrize("part", ["archive", "metadata"])
def test_a_list_that_arrives_damaged_is_fetched_once_more(tmp_path: Path, part: str) -> None:
    archives = write_fma(tmp_path, SONGS)
    write_zip_stored(archives.archive)
    write_zip_stored(archives.metadata)
    expected = read_tracks(*archives)
    path = getattr(archives, part)
    data = path.read_bytes()
    text = b"000/000002.mp3\n" if part == "archive" else b"Folk"
    quick = RetryPolicy(attempts=2, first_seconds=0.001)
    with RangeServer({"a.zip": path}) as server:
        there = Source(location=server.url("a.zip"), bytes=len(data), etag=server.etag("a.zip"))
        sources = [there if each == path else each for each in archives]
        # So small an archive comes whole, with its directory.
        server.faults += [Fault(flip=data.index(text))]
        assert read_tracks(sources[0], sources[1], quick) == expected
        server.always = Fault(flip=data.index(text))
        with pytest.raises(IntegrityError, match="damaged"):
            read_tracks(sources[0], sources[1], quick)


def test_long_fields_and_extra_columns_are_read(tmp_path: Path) -> None:
    archives = write_fma(tmp_path, SONGS)
    biography = "x" * 200_000
    table = (
        "\ufeff".encode()[:0]
        + f",album,set,track,track,artist,track\n,information,split,title,genre_top,name,license\n"
        f'track_id,,,,,,\n2,"{biography}\n",test,T,,A,L\n'.encode()
    )
    write_zip(archives.metadata, {"fma_metadata/tracks.csv": table}, zipfile.ZIP_DEFLATED)
    track = read_tracks(*archives)[0]
    assert (track.split, track.title, track.genre, track.artist) == ("test", "T", "", "A")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (tracks_csv([]).replace(b"genre_top", b"genre"), r"lacks the columns track\.genre_top"),
        (b"", "lacks the columns"),
        (tracks_csv(["000002"]) + b"three,a,b,c,d,e,f\n", "line 5 .* starts with 'three'"),
        (tracks_csv(["000002"]) + b"3,a\n", "line 5 .* has 2 columns"),
        (tracks_csv(["000002"]).replace(b"training", b"tests"), "track 000002: .*'tests'"),
        (tracks_csv(["000002"]) + b"3,\xff\xfe,b,c,d,e,f\n", "no readable table"),
    ],
)
def test_a_table_that_is_not_the_publishers_is_refused(
    tmp_path: Path, table: bytes, words: str
) -> None:
    archives = write_fma(tmp_path, SONGS)
    write_zip(archives.metadata, {"fma_metadata/tracks.csv": table})
    with pytest.raises(ManifestError, match=words):
        read_tracks(*archives)


def test_archives_that_are_something_else_are_refused(tmp_path: Path) -> None:
    archives = write_fma(tmp_path, SONGS)
    other = write_zip(tmp_path / "other.zip", {"readme": b""})
    with pytest.raises(DataError, match=r"other\.zip holds no track"):
        read_tracks(other, archives.metadata)
    with pytest.raises(DataError, match=r"holds 0 files named tracks\.csv"):
        read_tracks(archives.archive, other)
    twice = {"fma/000/000002.mp3": b"1", "copy/000/000002.mp3": b"2"}
    with pytest.raises(DataError, match="holds track 000002 twice"):
        read_tracks(write_zip(tmp_path / "twice.zip", twice), archives.metadata)
    broken = write_zip(tmp_path / "broken.zip", {"f/000/000002.mp3": b"", "f/checksums": b"?"})
    with pytest.raises(ManifestError, match="checksums line 1"):
        read_tracks(broken, archives.metadata)
    archives.metadata.write_bytes(b"nothing")
    with pytest.raises(IntegrityError, match="no whole zip archive"):
        read_tracks(*archives)


def test_an_archive_on_a_server_is_read_by_its_directory_alone(tmp_path: Path) -> None:
    songs = {f"{number:06d}": bytes(1000) + bytes([number % 256]) * 5000 for number in range(400)}
    archives = write_fma(tmp_path, songs)
    # The members' bulk, in any form, is not read.
    write_zip_stored(archives.archive)
    with RangeServer({"fma.zip": archives.archive}) as server:
        server.faults += [Fault(), Fault(status=503), Fault(cut=500)]
        there = Source(
            location=server.url("fma.zip"),
            bytes=archives.archive.stat().st_size,
            etag=server.etag("fma.zip"),
        )
        quick = RetryPolicy(attempts=4, first_seconds=0.001)
        tracks = read_tracks(there, archives.metadata, quick)
        assert tracks == read_tracks(*archives)
        assert len(server.gets()) <= 5
        assert server.sent < archives.archive.stat().st_size / 3
        with pytest.raises(SourceError, match="plan again"):
            read_tracks(there.model_copy(update={"etag": '"old"'}), archives.metadata, quick)


def write_zip_stored(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    write_zip(path, members)


def test_tracks_that_are_the_same_bytes_name_the_first(tmp_path: Path) -> None:
    songs = {"000002": b"a", "000004": b"b", "000011": b"a", "155320": b"a", "000010": b""}
    tracks = {
        track.id: track for track in read_tracks(*write_fma(tmp_path, songs | {"000012": b""}))
    }
    same = {track.id: track.duplicate_of for track in tracks.values() if track.duplicate_of}
    assert same == {"000011": "000002", "155320": "000002"}

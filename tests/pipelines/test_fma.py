"""The archive's listing, checksums and table -> tracks."""

import hashlib
import zipfile
import zlib
from pathlib import Path

import pytest

from pipelines.fma import read_tracks
from storage.errors import DataError, IntegrityError, ManifestError
from storage.records import Track
from tests.synthesised import tracks_csv, write_fma, write_zip

SONGS = {"000002": b"two", "000004": b"four", "155320": b"last", "000011": b"unlisted"}


def test_tracks_carry_listing_checksums_and_metadata(tmp_path: Path) -> None:
    tracks = read_tracks(*write_fma(tmp_path, SONGS))
    assert [track.id for track in tracks] == sorted(SONGS)
    assert tracks[0] == Track(
        id="000002",
        member="fma_tiny/000/000002.mp3",
        bytes=3,
        crc=zlib.crc32(b"two"),
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

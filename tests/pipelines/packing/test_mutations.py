"""Archives made to do harm, from their listing to the packed unit, here and by ranges."""

import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.archives.sources import Source
from pipelines.archives.zip_archive import ArchiveReader
from pipelines.config import FmaConfig
from pipelines.packing.pack import pack_units
from pipelines.tracks import fma
from pipelines.tracks.fma import read_tracks
from storage.audio.decode import decode
from storage.errors import DecodeError, IntegrityError, ManifestError
from tests.pipelines.packing.corpora import begin, source_of
from tests.range_server import RangeServer
from tests.synthesised import DAY, Archives, good_mp3, tracks_csv, write_zip

BOMB_BYTES = 200_000_000
SMALLER = 20_000_000
"""Packing it by bzip2 takes long enough."""
CLAIMED = 100_000
SLIPS = {
    "parent": "../000/000002.mp3",
    "root": "/000/000002.mp3",
    "inside": "fma/../../000/000002.mp3",
    "backslash": "..\\000/000002.mp3",
    "drive": "C:/000/000002.mp3",
    "zero": "000/000002.mp3\0.txt",
    "newline": "fma\n/000/000002.mp3",
}


@pytest.fixture
def server() -> Iterator[RangeServer]:
    with RangeServer({}) as running:
        yield running


def everywhere(path: Path, server: RangeServer) -> list[Source]:
    """An archive on this machine and on a server."""
    server.files[path.name] = path
    here = source_of(path)
    return [here, here.model_copy(update={"location": server.url(path.name)})]


def table(folder: Path) -> Path:
    members = {"fma_metadata/tracks.csv": tracks_csv(["000002", "000003"])}
    return write_zip(folder / "metadata.zip", members)


@pytest.mark.parametrize("kind", SLIPS)
def test_names_that_lead_outside_are_planned_nowhere(
    tmp_path: Path, server: RangeServer, kind: str
) -> None:
    name = SLIPS[kind].replace("\0", "@")
    path = write_zip(tmp_path / "a.zip", {"000/000003.mp3": b"x", name: b"x"})
    path.write_bytes(path.read_bytes().replace(b"@", b"\0"))
    for source in everywhere(path, server):
        with pytest.raises(IntegrityError, match=r"holds a member named .* leads out of"):
            read_tracks(source, table(tmp_path))


def test_links_are_planned_nowhere(tmp_path: Path, server: RangeServer) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as target:
        info = zipfile.ZipInfo("000/000002.mp3", DAY)
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        target.writestr(info, "/etc/passwd")
    for source in everywhere(path, server):
        with pytest.raises(IntegrityError, match=r"000002\.mp3 in .* is a symbolic link"):
            read_tracks(source, table(tmp_path))


@pytest.mark.parametrize(
    ("method", "size"), [(zipfile.ZIP_DEFLATED, BOMB_BYTES), (zipfile.ZIP_BZIP2, SMALLER)]
)
def test_a_bomb_costs_its_track_and_neither_memory_nor_disk(
    tmp_path: Path, server: RangeServer, method: int, size: int
) -> None:
    members = {"a/000/000002.mp3": bytes(size), "a/000/000003.mp3": good_mp3()}
    path = write_zip(tmp_path / "a.zip", members, method)
    # It claims to be small, in its header and in the directory.
    data = path.read_bytes().replace(struct.pack("<L", size), struct.pack("<L", CLAIMED))
    path.write_bytes(data)
    for number, source in enumerate(everywhere(path, server)):
        study = begin(tmp_path / f"{number}", Archives(path, table(tmp_path)))
        [mark] = pack_units(study.requests_of(source))
        row = study.rows()["000002"]
        assert (row.outcome, row.reason) == ("quarantined", "crc_mismatch")
        assert f"holds more than {CLAIMED} bytes" in row.detail
        assert study.rows()["000003"].outcome == "kept"
        assert mark.facts["peak_mb"] < BOMB_BYTES >> 20


def test_a_bomb_that_says_what_it_is_costs_its_track(tmp_path: Path) -> None:
    """Silence without end, under its true size: read block by block, and no audio."""
    members = {"a/000/000002.mp3": bytes(BOMB_BYTES), "a/000/000003.mp3": good_mp3()}
    path = write_zip(tmp_path / "a.zip", members, zipfile.ZIP_DEFLATED)
    config = FmaConfig(memory_mb=400)
    study = begin(tmp_path / "home", Archives(path, table(tmp_path)), config)
    [mark] = study.pack()
    assert study.rows()["000002"].reason == "not_audio"
    assert mark.facts["peak_mb"] < BOMB_BYTES >> 20


def test_lists_that_are_bombs_are_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    songs = {"a/000/000002.mp3": b"x", "a/checksums": bytes(BOMB_BYTES)}
    path = write_zip(tmp_path / "a.zip", songs, zipfile.ZIP_DEFLATED)
    with pytest.raises(IntegrityError, match="claims 200000000 bytes, more than any list has"):
        read_tracks(path, table(tmp_path))
    good = write_zip(tmp_path / "good.zip", {"a/000/000002.mp3": b"x"})
    monkeypatch.setattr(fma, "LONGEST_FIELD", 1000)
    endless = tracks_csv(["000002"]) + b"," * 100_000
    bomb = write_zip(tmp_path / "endless.zip", {"fma_metadata/tracks.csv": endless})
    with pytest.raises(ManifestError, match="has a line of 1000 characters or more"):
        read_tracks(good, bomb)
    assert [track.id for track in read_tracks(good, table(tmp_path))] == ["000002"]


def test_members_that_share_bytes_are_planned_nowhere(tmp_path: Path, server: RangeServer) -> None:
    """A directory of many names for one content unpacks to any size."""
    path = write_zip(tmp_path / "a.zip", {f"000/00000{n}.mp3": good_mp3() for n in range(3)})
    with ArchiveReader(path) as reader:
        last = reader.member("000/000002.mp3").offset
    data = path.read_bytes()
    at = data.rindex(struct.pack("<L", last) + b"000/000002")
    path.write_bytes(data[:at] + bytes(4) + data[at + 4 :])
    for source in everywhere(path, server):
        with pytest.raises(IntegrityError, match="reaches into what follows"):
            read_tracks(source, table(tmp_path))


@pytest.mark.parametrize("kind", [0x0003, 0x1234])
def test_sound_that_no_decoder_knows_is_no_audio(kind: int) -> None:
    """A WAV of a kind that FFmpeg lists as a stream, but cannot decode."""
    form = struct.pack("<IHHIIHH", 16, kind, 2, 44_100, 176_400, 4, 16)
    sound = b"data" + struct.pack("<I", 200_000) + bytes(200_000)
    data = b"RIFF" + struct.pack("<I", 36 + 200_000) + b"WAVEfmt " + form + sound
    with pytest.raises(DecodeError, match=r"a\.mp3 .* is no audio") as caught:
        decode(data, "a.mp3", 100)
    assert caught.value.reason == "not_audio"

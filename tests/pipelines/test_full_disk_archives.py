"""Archives and stems that arrive on a disk that is really full: an error, then the same bytes."""

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.archives import download as downloading
from pipelines.archives.download import Download, download
from pipelines.archives.known_archives import Published
from pipelines.archives.zip_archive import ArchiveReader
from pipelines.config import MusdbConfig
from pipelines.stems import moisesdb as mixing
from pipelines.stems import musdb as unpacking
from pipelines.stems.moisesdb import mix_songs
from pipelines.stems.musdb import unpack
from pipelines.synthesis.config import SynthesisConfig
from pipelines.synthesis.corpora import synthesise
from storage.errors import MachineError
from storage.home.layout import Home
from tests.range_server import Fault, RangeServer
from tests.small_disk import on_small_disks, small_disk, survives
from tests.stem_archives import moisesdb
from tests.synthesised import good_mp3, write_musdb, write_zip

MB = 1 << 20
Work = Callable[[Path, Path], None]
SONGS = SynthesisConfig(
    tracks=1, track_seconds=2, train_songs=2, validation_songs=1, test_songs=1, song_seconds=2,
    damaged=False, workers=1,
)  # fmt: skip


@pytest.fixture
def unforeseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """No look at the room beforehand: another program takes it while the work goes on."""
    for module in (downloading, mixing, unpacking):
        monkeypatch.setattr(module, "require_space", lambda *_: None)


def unpack_musdb(archive: Path, folder: Path) -> None:
    home = Home(folder)
    unpack(archive, home, home.corpus("musdb", "key"), MusdbConfig())


def mix_moisesdb(archive: Path, folder: Path) -> None:
    home = Home(folder)
    config = MusdbConfig(source="moisesdb", workers=1, validation_share=0)
    mix_songs(archive, home, home.corpus("musdb", "key"), config)


def extract(archive: Path, folder: Path) -> None:
    with ArchiveReader(archive) as reader:
        reader.extract("a.mp3", folder / "new" / "a.mp3")


@pytest.mark.usefixtures("unforeseen")
@pytest.mark.parametrize("work", [unpack_musdb, mix_moisesdb, extract])
@on_small_disks
def test_archives_unpacked_survive_a_full_disk(tmp_path: Path, work: Work) -> None:
    archives: dict[Work, Path] = {
        unpack_musdb: write_musdb(tmp_path / "data", seconds=1.0),
        mix_moisesdb: write_zip(tmp_path / "moises.zip", moisesdb(songs=2, seconds=0.3)),
        extract: write_zip(tmp_path / "a.zip", {"a.mp3": good_mp3()}, zipfile.ZIP_BZIP2),
    }
    with small_disk(tmp_path / "disk", 64 * MB) as disk:
        assert len(survives(disk, lambda folder: work(archives[work], folder), steps=4)) >= 5


@pytest.mark.usefixtures("unforeseen")
@pytest.mark.parametrize("parts", [True, False])
@on_small_disks
def test_downloads_survive_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: bool
) -> None:
    monkeypatch.setattr(downloading, "PART", 100_000)
    data = bytes(range(256)) * 4000
    (tmp_path / "served").write_bytes(data)
    sha1 = hashlib.sha1(data).hexdigest()
    with (
        RangeServer({"a.zip": tmp_path / "served"}) as server,
        small_disk(tmp_path / "disk", 16 * MB) as disk,
    ):
        if not parts:
            server.always = Fault(whole=True)
            server.head_faults += [Fault(headers=(("Accept-Ranges", ""),))] * 100
        wanted = Published(name="a.zip", url=server.url("a.zip"), sha1=sha1)
        assert len(survives(disk, lambda folder: fetch(wanted, folder), steps=4)) >= 5


def fetch(wanted: Published, folder: Path) -> None:
    assert download(Download(wanted, folder / "a.zip"), 3) == wanted.sha1


@pytest.mark.parametrize("work", [unpack_musdb, mix_moisesdb])
@on_small_disks
def test_too_little_room_is_refused_beforehand(tmp_path: Path, work: Work) -> None:
    archives: dict[Work, Path] = {
        unpack_musdb: write_musdb(tmp_path / "data", seconds=1.0),
        mix_moisesdb: write_zip(tmp_path / "moises.zip", moisesdb(songs=2, seconds=0.3)),
    }
    with small_disk(tmp_path / "disk", MB) as disk:
        disk.leave(MB // 4)
        with pytest.raises(MachineError, match=r"needs .* GB under .* are free; free some space"):
            work(archives[work], disk.root / "home")
        assert disk.files("home") == {}


@on_small_disks
def test_synthesis_survives_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 16 * MB) as disk:
        work = lambda folder: synthesise(SONGS, folder / "archives")  # noqa: E731
        assert len(survives(disk, work, steps=2, pages=(0,))) >= 2

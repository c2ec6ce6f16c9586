"""MoisesDB mixed again: after a kill, on a full disk, from a zip that lies."""

import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from pipelines.config import MusdbConfig
from pipelines.stems.moisesdb import mix_songs
from pipelines.stems.stem_ledger import LEDGER
from storage.errors import DataError, IntegrityError, MachineError
from storage.home.layout import Corpus, Home
from storage.manifests import read_rows
from storage.records import LedgerRow
from tests.stem_archives import contents, four_stems, moises_song, moisesdb, song_id, write_files
from tests.synthesised import write_zip

CONFIG = MusdbConfig(source="moisesdb", workers=1, validation_share=0)
SONG = song_id(0)
MIX = """
import sys
from pathlib import Path
from pipelines.config import MusdbConfig
from pipelines.stems.moisesdb import mix_songs
from storage.home.layout import Home
home = Home(Path(sys.argv[2]))
config = MusdbConfig(source="moisesdb", workers=2, validation_share=0)
mix_songs(Path(sys.argv[1]), home, home.corpus("musdb", "key"), config)
"""


def test_what_was_killed_goes_on_where_it_was(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    """Killed as soon as one song is there, again and again: the bytes are an undisturbed run's."""
    source = write_zip(tmp_path / "moisesdb.zip", moisesdb(6, 2.0))
    undisturbed = Home(tmp_path / "undisturbed")
    mix_songs(source, undisturbed, undisturbed.corpus("musdb", "key"), CONFIG)
    order = [sys.executable, "-c", MIX, str(source), str(home.root)]
    done: dict[Path, int] = {}
    for kills in range(1, 4):
        running = subprocess.Popen(order)
        while running.poll() is None and len(_notes(corpus)) < kills:
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
        running.wait()
        after = _notes(corpus)
        assert {path: after[path] for path in done} == done
        done = after
    assert len(done) >= 3
    mix_songs(source, home, corpus, CONFIG)
    assert {path: _notes(corpus)[path] for path in done} == done
    assert contents(home.root) == contents(undisturbed.root)


def _notes(corpus: Corpus) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in corpus.root.glob("songs/*/mixed.json")}


@pytest.mark.parametrize(
    "lost",
    [*(f"{part}.wav" for part in ("mixture", "bass", "drums", "other", "vocals")), "mixed.json"],
)
def test_a_song_that_is_not_whole_is_mixed_again(
    tmp_path: Path, home: Home, corpus: Corpus, lost: str
) -> None:
    source = write_files(tmp_path / "m", moisesdb(2))
    mix_songs(source, home, corpus, CONFIG)
    before = contents(home.root)
    folder = corpus.root / "songs" / SONG
    (folder / lost).write_bytes(b"{}")
    (folder / ".bass.wav.1.arriving").touch()
    other = corpus.root / "songs" / song_id(1) / "bass.wav"
    os.utime(other, (1, 1))
    mix_songs(source, home, corpus, CONFIG)
    assert contents(home.root) == before
    assert other.stat().st_mtime == 1


def test_a_full_disk_is_noticed_before_it_is_full(
    tmp_path: Path, home: Home, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, needed: int, purpose: str) -> None:
        # 1.0 and 1.1 s of five float files: from twice the size of as many 16-bit ones.
        assert needed == pytest.approx(5 * 8 * 44_100 * 2.1, rel=0.01)
        raise MachineError(f"{purpose} needs more under {folder}")

    monkeypatch.setattr("pipelines.stems.moisesdb.require_space", full)
    with pytest.raises(MachineError, match="mixing"):
        mix_songs(write_files(tmp_path / "m", moisesdb(2)), home, corpus, CONFIG)
    assert not corpus.root.exists()


def test_a_damaged_member_costs_its_song_alone(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    members = moisesdb(3, 0.1)
    name = next(name for name in members if f"{SONG}/bass/" in name)
    source = write_zip(tmp_path / "moisesdb.zip", members)
    whole = source.read_bytes()
    damaged = bytearray(whole)
    damaged[whole.index(members[name]) + 200] ^= 1
    source.write_bytes(damaged)
    lenient = CONFIG.model_copy(update={"error_budget": 0.5})
    assert len(mix_songs(source, home, corpus, lenient)) == 2
    (row,) = (row for row in read_rows(corpus.ledger(LEDGER), LedgerRow) if row.reason)
    assert (row.track, row.reason) == (SONG, "damaged")
    assert name in row.detail
    assert str(tmp_path) not in row.detail
    assert not list(corpus.root.glob("scratch/*"))


@pytest.mark.parametrize("name", ["../../evil/data.json", "/evil/data.json", "a/../../data.json"])
def test_names_that_lead_outside_write_nothing(
    tmp_path: Path, home: Home, corpus: Corpus, name: str
) -> None:
    source = write_zip(tmp_path / "moisesdb.zip", {**moisesdb(1), name: b"{}"})
    with pytest.raises(IntegrityError, match="leads out of its folder"):
        mix_songs(source, home, corpus, CONFIG)
    assert not home.root.exists()


def test_a_link_in_a_zip_is_refused(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    source = tmp_path / "moisesdb.zip"
    with zipfile.ZipFile(source, "w") as archive:
        link = zipfile.ZipInfo(f"moisesdb_v0.1/{SONG}/data.json")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(IntegrityError, match="symbolic link"):
        mix_songs(source, home, corpus, CONFIG)


def test_links_in_a_folder_are_followed_and_dead_ones_are_absent(
    tmp_path: Path, home: Home, corpus: Corpus
) -> None:
    elsewhere = write_files(tmp_path / "elsewhere", moises_song(SONG, four_stems()))
    source = tmp_path / "moisesdb_v0.1"
    source.mkdir()
    (source / SONG).symlink_to(elsewhere / SONG)
    recording = next((elsewhere / SONG / "bass").iterdir())
    recording.unlink()
    recording.symlink_to("nowhere")
    assert len(mix_songs(source, home, corpus, CONFIG)) == 1
    (row,) = read_rows(corpus.ledger(LEDGER), LedgerRow)
    assert row.detail == "no bass; recordings listed but not there: 1"


def test_a_song_with_an_unsafe_name_is_quarantined(
    tmp_path: Path, home: Home, corpus: Corpus
) -> None:
    members = moisesdb(1) | moises_song("so ng\n", four_stems())
    lenient = CONFIG.model_copy(update={"error_budget": 0.5})
    assert len(mix_songs(write_files(tmp_path / "m", members), home, corpus, lenient)) == 1
    reasons = {row.reason for row in read_rows(corpus.ledger(LEDGER), LedgerRow)}
    assert reasons == {"", "unsafe_name"}


@pytest.mark.parametrize("name", ["CON", "ü" * 101, "x~0123456789ab"])
def test_a_name_that_no_folder_may_have_is_no_id(
    tmp_path: Path, home: Home, corpus: Corpus, name: str
) -> None:
    members = moisesdb(1) | moises_song(name, four_stems())
    lenient = CONFIG.model_copy(update={"error_budget": 0.5})
    assert len(mix_songs(write_zip(tmp_path / "m.zip", members), home, corpus, lenient)) == 1
    assert {row.reason for row in read_rows(corpus.ledger(LEDGER), LedgerRow)} == {
        "",
        "unsafe_name",
    }


def test_what_systems_leave_is_no_song(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    members = moisesdb(1, 0.1)
    for place in ("@eaDir", "__MACOSX/x", f"moisesdb_v0.1/{SONG}/@eaDir", "#recycle/x"):
        members[f"{place}/data.json"] = b"{"
    members[f"moisesdb_v0.1/{SONG}/._data.json"] = b"x"
    for source in (write_zip(tmp_path / "m.zip", members), write_files(tmp_path / "m", members)):
        assert len(mix_songs(source, home, corpus, CONFIG)) == 1


def test_songs_that_none_validates_are_refused_before_they_are_mixed(
    tmp_path: Path, home: Home, corpus: Corpus
) -> None:
    members = moises_song(SONG, four_stems()) | moises_song(song_id(1), four_stems())
    source = write_files(tmp_path / "m", members)
    usual = MusdbConfig(source="moisesdb", workers=1)
    with pytest.raises(DataError, match=r"none of the 2 songs .* musdb\.validation_share=0"):
        mix_songs(source, home, corpus, usual)
    assert not corpus.root.exists()
    assert len(mix_songs(source, home, corpus, CONFIG)) == 2


def test_what_is_not_moisesdb_is_refused(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match=r"holds no song with a data\.json"):
        mix_songs(empty, home, corpus, CONFIG)
    with pytest.raises(DataError, match="missing"):
        mix_songs(tmp_path / "nothing", home, corpus, CONFIG)
    members = moises_song(SONG, four_stems())
    twice = {
        f"{version}/{name}": data for version in ("v1", "v2") for name, data in members.items()
    }
    with pytest.raises(DataError, match=f"holds song {SONG} twice, in v1/{SONG} and v2/{SONG}"):
        mix_songs(write_files(tmp_path / "twice", twice), home, corpus, CONFIG)
    with pytest.raises(DataError, match=r"none of 1 songs is kept .*max_stems"):
        few = CONFIG.model_copy(update={"max_stems": 1})
        mix_songs(write_files(tmp_path / "one", members), home, corpus, few)

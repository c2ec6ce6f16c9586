"""MUSDB18-HQ: unpacked whole, checked, split 86/14/50."""

import io
import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipelines.config import MUSDB_VALIDATION, MusdbConfig
from pipelines.stems.musdb import missing_validation, unpack
from storage.audio.waveforms import read_window
from storage.errors import DataError, IntegrityError, MachineError
from storage.home.layout import Corpus, Home
from storage.manifests import read_rows
from storage.records import StemSong
from tests.stem_archives import contents
from tests.synthesised import (
    RATE,
    TEST_SONG,
    TRAIN_SONG,
    VALIDATION_SONG,
    as_file,
    musdb_members,
    tune,
    write_musdb,
    write_zip,
)

CONFIG = MusdbConfig()
MIXTURE = f"train/{TRAIN_SONG}/mixture.wav"


def test_songs_are_unpacked_and_split(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    seen: list[int] = []
    archive = write_musdb(tmp_path, 2.0)
    songs = unpack(archive, home, corpus, CONFIG, seen.append)
    assert {(song.name, song.split, song.frames) for song in songs} == {
        (TRAIN_SONG, "train", 2 * RATE),
        (VALIDATION_SONG, "validation", 1.5 * RATE),
        (TEST_SONG, "test", 2.5 * RATE),
    }
    assert read_rows(corpus.songs, StemSong) == songs
    members = musdb_members(2.0)
    assert sum(seen) == sum(len(data) for data in members.values())
    for name, data in members.items():
        assert (corpus.root / name).read_bytes() == data
    for song in songs:
        assert not Path(song.folder).is_absolute()
        sound = {p: read_window(home.path(song.folder) / f"{p}.wav") for p in song.parts}
        total = sound["bass"] + sound["drums"] + sound["other"] + sound["vocals"]
        np.testing.assert_allclose(total, sound["mixture"], atol=1e-3)


def test_whole_files_are_left_and_damaged_ones_replaced(
    tmp_path: Path, home: Home, corpus: Corpus
) -> None:
    archive = write_musdb(tmp_path, 2.0)
    songs = unpack(archive, home, corpus, CONFIG)
    whole = corpus.root / f"test/{TEST_SONG}/bass.wav"
    os.utime(whole, (1, 1))
    damaged = corpus.root / MIXTURE
    data = bytearray(damaged.read_bytes())
    data[500] ^= 1
    damaged.write_bytes(data)
    remains = damaged.with_name(".mixture.wav.1.arriving")
    remains.touch()
    seen: list[int] = []
    assert unpack(archive, home, corpus, CONFIG, seen.append) == songs
    assert whole.stat().st_mtime == 1
    assert damaged.read_bytes() == musdb_members(2.0)[MIXTURE]
    assert sum(seen) == sum(len(data) for data in musdb_members(2.0).values())
    assert not remains.exists()


def test_absent_validation_titles_are_reported(
    tmp_path: Path, home: Home, corpus: Corpus, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        songs = unpack(write_musdb(tmp_path, 1.0), home, corpus, CONFIG)
    assert "lacks 13 of 14 validation titles: Actions - One Minute Smile" in caplog.text
    missing = missing_validation(songs, CONFIG)
    assert missing == [title for title in MUSDB_VALIDATION if title != VALIDATION_SONG]
    assert missing_validation(songs, MusdbConfig(validation=(VALIDATION_SONG,))) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({f"train/{TRAIN_SONG}/drums.wav": None}, "'Ada - First Song' in train .* lacks drums"),
        ({MIXTURE: as_file(tune(1.0, rate=48_000), 48_000, "WAV")}, "48000 Hz, 2 channels, PCM_16"),
        ({MIXTURE: as_file(tune(1.0, channels=1), kind="WAV")}, "44100 Hz, 1 channels"),
        ({MIXTURE: as_file(tune(1.1), kind="WAV")}, r"differ in length .*mixture 48510"),
        ({MIXTURE: b"no wave"}, r"mixture\.wav is no readable audio"),
    ],
    ids=["stem", "rate", "mono", "length", "text"],
)
def test_what_is_not_musdb_is_refused(
    tmp_path: Path, change: dict[str, bytes | None], words: str
) -> None:
    members = {**musdb_members(1.0), **change}
    archive = write_zip(
        tmp_path / "musdb.zip", {name: data for name, data in members.items() if data is not None}
    )
    home = Home(tmp_path / "home")
    corpus = home.corpus("musdb", "key")
    with pytest.raises(DataError, match=words):
        unpack(archive, home, corpus, CONFIG)
    assert not corpus.songs.exists()


def test_another_archive_is_refused(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    archive = write_zip(tmp_path / "other.zip", {"train/A - B.stem.mp4": b""})
    with pytest.raises(DataError, match="holds no recording named as train/<song>/mixture"):
        unpack(archive, home, corpus, CONFIG)


def test_names_that_lead_outside_write_nothing(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    members = {**musdb_members(1.0), "train/../../../bass.wav": b"x"}
    archive = write_zip(tmp_path / "evil.zip", members)
    with pytest.raises(IntegrityError, match="leads out of its folder"):
        unpack(archive, home, corpus, CONFIG)
    assert not home.root.exists()


def test_a_full_disk_is_noticed_before_it_is_full(
    tmp_path: Path, home: Home, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, needed: int, purpose: str) -> None:
        assert needed == sum(len(data) for data in musdb_members(1.0).values())
        raise MachineError(f"{purpose} needs more under {folder}")

    monkeypatch.setattr("pipelines.stems.musdb.require_space", full)
    with pytest.raises(MachineError, match="unpacking"):
        unpack(write_musdb(tmp_path, 1.0), home, corpus, CONFIG)
    assert not corpus.root.exists()


def moved(archive: Path, top: str, more: dict[str, bytes] | None = None) -> Path:
    """Write a usual archive again, under a folder and with more members."""
    members = {f"{top}{name}": data for name, data in musdb_members(1.0).items()}
    return write_zip(archive.with_name("moved.zip"), {**members, **(more or {})})


def test_a_folder_may_be_around_the_archives_own(tmp_path: Path) -> None:
    """And a copy by macOS adds its own files, of the same names: the bytes on disk are the same."""
    homes = [Home(tmp_path / name) for name in ("usual", "moved")]
    archive = write_musdb(tmp_path, 1.0)
    litter = {f"__MACOSX/musdb/train/{TRAIN_SONG}/._bass.wav": b"x"}
    litter |= {"musdb/train/@eaDir/bass.wav": b"x", f"musdb/train/{TRAIN_SONG}/._drums.wav": b"x"}
    archives = (archive, moved(archive, "musdb/", litter))
    for home, path in zip(homes, archives, strict=True):
        unpack(path, home, home.corpus("musdb", "key"), CONFIG)
    assert contents(homes[0].root) == contents(homes[1].root)
    # What is published has no folder around it: what has is something else.
    unpack(moved(archive, "", {"old/train/x/bass.wav": b""}), homes[1], corpus_of(homes[1]), CONFIG)
    assert contents(homes[0].root) == contents(homes[1].root)


def corpus_of(home: Home) -> Corpus:
    return home.corpus("musdb", "key")


def test_two_folders_of_songs_are_not_one_corpus(
    tmp_path: Path, home: Home, corpus: Corpus
) -> None:
    archive = moved(write_musdb(tmp_path, 1.0), "a/", {"b/train/x/bass.wav": b""})
    with pytest.raises(DataError, match="holds songs in a and in b; make an archive of one"):
        unpack(archive, home, corpus, CONFIG)


def test_songs_of_any_title_stay_in_the_corpus(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    titles = ("... - Baby", "CON", "Etc.", "etc", "Who?")
    song = {name.rpartition("/")[2]: data for name, data in musdb_members(0.1).items()}
    more = {f"train/{title}/{part}": data for title in titles for part, data in song.items()}
    songs = unpack(moved(tmp_path / "x.zip", "", more), home, corpus, CONFIG)
    folders = {song.name: home.path(song.folder) for song in songs}
    assert folders.keys() == {*titles, TRAIN_SONG, VALIDATION_SONG, TEST_SONG}
    assert len({path.name.lower() for path in folders.values()}) == 8
    for path in folders.values():
        assert path.parent.parent == corpus.root
        assert (path / "bass.wav").is_file()
        assert path.name.strip(" .?") == path.name != "CON"


def test_titles_are_validated_by_in_whatever_form_they_are_written(
    tmp_path: Path, home: Home, corpus: Corpus
) -> None:
    song = {name.rpartition("/")[2]: data for name, data in musdb_members(0.1).items()}
    more = {f"train/Ame\u0301lie - Two/{part}": data for part, data in song.items()}
    config = MusdbConfig(validation=("Am\u00e9lie - Two",))
    songs = unpack(moved(tmp_path / "x.zip", "", more), home, corpus, config)
    assert [song.name for song in songs if song.split == "validation"] == ["Ame\u0301lie - Two"]
    assert missing_validation(songs, config) == []


def test_songs_that_none_validates_are_refused_before_they_are_unpacked(
    tmp_path: Path, home: Home, corpus: Corpus
) -> None:
    archive = write_musdb(tmp_path, 1.0)
    with pytest.raises(DataError, match=r"none of the 3 .* validation split, .* set musdb\.valida"):
        unpack(archive, home, corpus, MusdbConfig(validation=("Nobody - Nothing",)))
    assert not corpus.root.exists()
    assert len(unpack(archive, home, corpus, MusdbConfig(validation=()))) == 3


REST = ("bass", "drums", "other")
TWO = MusdbConfig(stems=("vocals", "rest"), mix={"rest": REST})


def test_two_stems_are_a_recording_and_a_sum(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    archive, members = write_musdb(tmp_path, 2.0), musdb_members(2.0)
    songs = unpack(archive, home, corpus, TWO)
    assert read_rows(corpus.songs, StemSong) == songs
    for song in songs:
        assert song.stems == ("vocals", "rest")
        folder = home.path(song.folder)
        assert {path.name for path in folder.iterdir()} == {"mixture.wav", "rest.wav", "vocals.wav"}
        name = f"{folder.parent.name}/{song.name}"
        sound = {
            part: soundfile.read(io.BytesIO(members[f"{name}/{part}.wav"]), dtype="float64")[0].T
            for part in ("vocals", "mixture", *REST)
        }
        total = (sound["bass"] + sound["drums"] + sound["other"]).astype(np.float32)
        np.testing.assert_array_equal(read_window(folder / "rest.wav"), total)
        for part in ("vocals", "mixture"):
            assert (folder / f"{part}.wav").read_bytes() == members[f"{name}/{part}.wav"]
    assert not (corpus.root / "scratch").exists()


def test_a_sum_that_was_damaged_is_written_again(
    tmp_path: Path, home: Home, corpus: Corpus
) -> None:
    archive = write_musdb(tmp_path, 1.0)
    unpack(archive, home, corpus, TWO)
    path = corpus.root / f"train/{TRAIN_SONG}/rest.wav"
    good = path.read_bytes()
    path.write_bytes(good[:500] + bytes(4) + good[504:])
    unpack(archive, home, corpus, TWO)
    assert path.read_bytes() == good


def test_a_recording_that_no_song_has_is_named(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    choir = MusdbConfig(stems=("vocals", "rest"), mix={"rest": ("bass", "choir")})
    with pytest.raises(DataError, match=r"has a recording of choir; .* bass, drums, other, vocals"):
        unpack(write_musdb(tmp_path, 1.0), home, corpus, choir)


def test_recordings_of_a_sum_are_checked_too(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    drums = {f"train/{TRAIN_SONG}/drums.wav": as_file(tune(1.1), kind="WAV")}
    archive = write_zip(tmp_path / "musdb.zip", {**musdb_members(1.0), **drums})
    with pytest.raises(DataError, match=r"differ in length .*drums 48510"):
        unpack(archive, home, corpus, TWO)


def test_usual_rows_are_written_as_before(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    """What follows is keyed by their digest."""
    unpack(write_musdb(tmp_path, 1.0), home, corpus, CONFIG)
    keys = [set(json.loads(line)) for line in corpus.songs.read_text().splitlines()]
    assert keys == [{"name", "split", "folder", "frames", "sample_rate"}] * 3

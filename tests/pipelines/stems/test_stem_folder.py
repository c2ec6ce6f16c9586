"""A folder of stems: read where it is, judged song by song, known by its content."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipelines.config import MusdbConfig
from pipelines.stems.stem_folder import read_songs
from pipelines.stems.stem_ledger import LEDGER
from storage.errors import DataError
from storage.home.layout import Corpus, Home
from storage.manifests import read_rows
from storage.records import LedgerRow, StemSong
from tests.stem_archives import float_wave, stem_folder, write_files
from tests.synthesised import RATE, VALIDATION_SONG, Sound, tune

CONFIG = MusdbConfig(source="folder", workers=1)
LENIENT = CONFIG.model_copy(update={"error_budget": 0.9})
GOOD = ("train/Ada - One", "train/Bo - Two", "test/Cy - Three")
BAD = "train/Ünal - Bad"


def splits(songs: list[StemSong]) -> dict[str, str]:
    return {song.name: song.split for song in songs}


def rows_of(corpus: Corpus) -> dict[str, LedgerRow]:
    return {row.track: row for row in read_rows(corpus.ledger(LEDGER), LedgerRow)}


def test_songs_are_read_in_place(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    folder = write_files(tmp_path / "stems", stem_folder([*GOOD, f"train/{VALIDATION_SONG}"], 0.5))
    (folder / "train" / "README.txt").write_text("not a song")
    (folder / "train" / ".hidden").mkdir()
    before = sorted(path.stat().st_mtime_ns for path in folder.rglob("*"))
    told: list[tuple[int, int]] = []
    songs = read_songs(folder, home, corpus, CONFIG, lambda *done: told.append(done))
    assert splits(songs) == {
        "Cy - Three": "test",
        "Ada - One": "train",
        "Bo - Two": "train",
        VALIDATION_SONG: "validation",
    }
    assert {Path(song.folder) for song in songs} == {
        folder / "test" / "Cy - Three",
        *(folder / "train" / name for name in ("Ada - One", "Bo - Two", VALIDATION_SONG)),
    }
    assert all((song.frames, song.sample_rate) == (RATE // 2, RATE) for song in songs)
    assert read_rows(corpus.songs, StemSong) == songs
    assert told == [(number, 4) for number in (1, 2, 3, 4)]
    assert sorted(path.stat().st_mtime_ns for path in folder.rglob("*")) == before
    assert {row.outcome for row in rows_of(corpus).values()} == {"kept"}


def test_workers_change_nothing(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    folder = write_files(tmp_path / "stems", stem_folder(GOOD, 0.2))
    songs = read_songs(folder, home, corpus, CONFIG)
    written = corpus.ledger(LEDGER).read_bytes(), corpus.songs.read_bytes()
    assert read_songs(folder, home, corpus, CONFIG.model_copy(update={"workers": 2})) == songs
    assert (corpus.ledger(LEDGER).read_bytes(), corpus.songs.read_bytes()) == written


def test_a_validation_folder_is_taken_at_its_word(
    tmp_path: Path, home: Home, corpus: Corpus
) -> None:
    folder = write_files(tmp_path / "stems", stem_folder([*GOOD, "validation/Di - Four"], 0.1))
    assert splits(read_songs(folder, home, corpus, CONFIG))["Di - Four"] == "validation"
    assert "validation" not in splits(read_songs(folder, home, corpus, CONFIG)).keys() - {
        "Di - Four"
    }


def test_whole_artists_validate_where_nobody_is_named(
    tmp_path: Path, home: Home, corpus: Corpus
) -> None:
    titles = [f"train/Artist {number % 10} - Song {number}" for number in range(20)]
    folder = write_files(tmp_path / "stems", stem_folder(titles, 0.02))
    found = splits(read_songs(folder, home, corpus, CONFIG))
    chosen = {name.partition(" - ")[0] for name, split in found.items() if split == "validation"}
    assert len(chosen) == 1
    assert sum(split == "validation" for split in found.values()) == 2
    none = CONFIG.model_copy(update={"validation_share": 0.0})
    assert set(splits(read_songs(folder, home, corpus, none)).values()) == {"train"}


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_usual_formats_are_taken(tmp_path: Path, home: Home, corpus: Corpus, subtype: str) -> None:
    """A mixture that is not there is the stems' sum, except for songs that test."""
    files = {
        f"{song}/{part}.wav": float_wave(tune(0.2, 100.0), subtype=subtype)
        for song in GOOD
        for part in ("bass", "drums", "other", "vocals", "mixture")
        if part != "mixture" or song.startswith("test")
    }
    songs = read_songs(write_files(tmp_path / "stems", files), home, corpus, CONFIG)
    assert len(songs) == 3


def test_silent_stems_are_songs_too(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    files = stem_folder(GOOD, 0.2) | {
        f"{GOOD[0]}/vocals.wav": float_wave(np.zeros((2, RATE // 5), np.float32))
    }
    assert len(read_songs(write_files(tmp_path / "stems", files), home, corpus, CONFIG)) == 3


def broken(seconds: float, value: float) -> bytes:
    sound: Sound = tune(seconds)
    sound[1, -1] = value
    return float_wave(sound)


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"drums": None, "vocals": None}, "missing_stem", "lacks drums.wav, vocals.wav"),
        ({"drums": float_wave(tune(0.6))}, "length_mismatch", "drums 26460"),
        ({"bass": float_wave(tune(0.5, rate=48_000), 48_000)}, "format", "bass.wav is 48000 Hz"),
        ({"bass": float_wave(tune(0.5, channels=1))}, "format", "1 channels"),
        ({"bass": float_wave(tune(0.5), subtype="PCM_U8")}, "format", "PCM_U8, not 44100 Hz"),
        ({"bass": b"no wave"}, "unreadable", "bass.wav is no readable audio"),
        ({"bass": b""}, "unreadable", "bass.wav is no readable audio"),
        ({"bass": float_wave(tune(0.5))[:50_000]}, "truncated", "50000 bytes of a promised"),
        ({"bass": broken(0.5, math.nan)}, "non_finite", "bass.wav holds samples"),
        ({"mixture": broken(0.5, -math.inf)}, "non_finite", "mixture.wav holds samples"),
    ],
)
def test_a_bad_song_costs_no_other(
    tmp_path: Path,
    home: Home,
    corpus: Corpus,
    changes: dict[str, bytes | None],
    reason: str,
    words: str,
) -> None:
    files: dict[str, bytes | None] = {**stem_folder([*GOOD, BAD], 0.5)}
    files |= {f"{BAD}/{part}.wav": data for part, data in changes.items()}
    present = {name: data for name, data in files.items() if data is not None}
    folder = write_files(tmp_path / "stems", present)
    songs = read_songs(folder, home, corpus, LENIENT)
    assert "Ünal - Bad" not in splits(songs)
    assert len(songs) == 3
    row = rows_of(corpus)[BAD]
    assert (row.outcome, row.reason, row.split) == ("quarantined", reason, "train")
    assert words in row.detail
    assert str(tmp_path) not in row.detail
    with pytest.raises(DataError, match=r"1 of 4 songs cannot .*train/Ünal - Bad: ") as error:
        read_songs(folder, home, corpus, CONFIG)
    assert words in str(error.value)


def test_empty_songs_and_empty_folders_are_quarantined(
    tmp_path: Path, home: Home, corpus: Corpus
) -> None:
    silence = float_wave(np.zeros((2, 0), np.float32))
    files = stem_folder(GOOD, 0.1)
    files |= {f"train/Empty/{part}.wav": silence for part in ("bass", "drums", "other", "vocals")}
    folder = write_files(tmp_path / "stems", files)
    (folder / "train" / "Nothing").mkdir()
    read_songs(folder, home, corpus, LENIENT)
    reasons = {track: row.reason for track, row in rows_of(corpus).items() if row.reason}
    assert reasons == {"train/Empty": "empty", "train/Nothing": "missing_stem"}


def test_what_tests_needs_its_own_mixture(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    files = stem_folder([*GOOD, "test/Di - Four"], 0.1)
    del files["test/Di - Four/mixture.wav"], files["train/Ada - One/mixture.wav"]
    songs = read_songs(write_files(tmp_path / "stems", files), home, corpus, LENIENT)
    assert splits(songs).keys() == {"Ada - One", "Bo - Two", "Cy - Three"}
    assert rows_of(corpus)["test/Di - Four"].reason == "missing_mixture"


def test_no_title_trains_and_tests(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    folder = write_files(tmp_path / "stems", stem_folder([*GOOD, "train/Cy - Three"], 0.1))
    assert splits(read_songs(folder, home, corpus, LENIENT))["Cy - Three"] == "test"
    row = rows_of(corpus)["train/Cy - Three"]
    assert (row.reason, row.detail) == (
        "duplicate_title",
        "it lies in test/ too; keep one of the two",
    )


def test_links_are_followed(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    elsewhere = write_files(tmp_path / "elsewhere", stem_folder(GOOD, 0.1))
    folder = tmp_path / "stems"
    folder.mkdir()
    (folder / "test").symlink_to(elsewhere / "test")
    (folder / "train").mkdir()
    (folder / GOOD[0]).symlink_to(elsewhere / GOOD[0])
    (folder / "train" / "Dead").symlink_to("nowhere")
    (folder / "train" / "Round").symlink_to(folder)
    songs = read_songs(folder, home, corpus, LENIENT)
    assert splits(songs).keys() == {"Ada - One", "Cy - Three"}


def test_what_is_no_folder_of_stems_is_refused(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    with pytest.raises(DataError, match=r"folder .*nothing is missing"):
        read_songs(tmp_path / "nothing", home, corpus, CONFIG)
    (tmp_path / "empty" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match=r"holds no song; put bass\.wav, .* into train/<song>"):
        read_songs(tmp_path / "empty", home, corpus, CONFIG)


SIX = ("bass", "drums", "guitar", "keys", "strings", "voice")


def six_files(titles: tuple[str, ...], extra: tuple[str, ...] = ()) -> dict[str, bytes]:
    files = {}
    for number, title in enumerate(titles):
        for step, name in enumerate((*SIX, *extra), 1):
            sound = tune(0.4, 80.0 * step + number)
            files[f"{title}/{name}.wav"] = float_wave(sound)
        files[f"{title}/mixture.wav"] = float_wave(tune(0.4, 50.0))
    return files


def test_six_stems_are_read_in_place(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    folder = write_files(tmp_path / "stems", six_files(GOOD))
    songs = read_songs(folder, home, corpus, CONFIG.model_copy(update={"stems": SIX}))
    assert [song.stems for song in songs] == [SIX] * 3
    assert {Path(song.folder).parent.parent for song in songs} == {folder}
    assert read_rows(corpus.songs, StemSong) == songs


def test_sums_stand_beside_links_to_the_recordings(
    tmp_path: Path, home: Home, corpus: Corpus
) -> None:
    files = six_files(GOOD)
    folder = write_files(tmp_path / "stems", files)
    mix = {"rest": tuple(name for name in SIX if name != "voice")}
    config = CONFIG.model_copy(update={"stems": ("voice", "rest"), "mix": mix})
    for _ in range(2):
        songs = read_songs(folder, home, corpus, config)
    assert len(songs) == 3
    for song in songs:
        made = home.path(song.folder)
        assert made.is_relative_to(corpus.root)
        source = folder / made.parent.name / song.name
        total = np.zeros((2, song.frames))
        for name in mix["rest"]:
            total += soundfile.read(source / f"{name}.wav", dtype="float64")[0].T
        rest, _ = soundfile.read(made / "rest.wav", dtype="float32")
        np.testing.assert_array_equal(rest.T, total.astype(np.float32))
        for part in ("voice", "mixture"):
            assert (made / f"{part}.wav").samefile(source / f"{part}.wav")
    assert {path.read_bytes() for path in folder.rglob("*.wav")} == set(files.values())


def test_stems_that_no_song_has_are_named(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    folder = write_files(tmp_path / "stems", stem_folder(GOOD, 0.1))
    config = CONFIG.model_copy(update={"stems": ("vocals", "choir")})
    with pytest.raises(DataError, match=r"recording of choir; .* bass, drums, other, vocals: name"):
        read_songs(folder, home, corpus, config)

"""MoisesDB: its sums beside a plain oracle, its accidents in the ledger, its bytes alike."""

import io
import json
import math
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from pipelines.config import MOISESDB_STEMS, MusdbConfig
from pipelines.stems.moisesdb import mix_songs
from pipelines.stems.stem_ledger import LEDGER
from storage.audio.waveforms import read_window
from storage.errors import DataError
from storage.home.layout import Corpus, Home
from storage.manifests import read_rows
from storage.records import LedgerRow, StemSong
from tests.stem_archives import (
    contents,
    float_wave,
    four_stems,
    moises_song,
    moisesdb,
    song_id,
    write_files,
)
from tests.synthesised import RATE, Sound, tune, write_zip

CONFIG = MusdbConfig(source="moisesdb", workers=1, validation_share=0)
SPLIT = CONFIG.model_copy(update={"validation_share": 0.1})
LENIENT = CONFIG.model_copy(update={"error_budget": 0.9})
STEMS = ("bass", "drums", "other", "vocals")
SONG = song_id(0)


def rows_of(corpus: Corpus) -> dict[str, LedgerRow]:
    return {row.track: row for row in read_rows(corpus.ledger(LEDGER), LedgerRow)}


def sounds(home: Home, song: StemSong) -> dict[str, Sound]:
    folder = home.path(song.folder)
    return {part: read_window(folder / f"{part}.wav") for part in (*STEMS, "mixture")}


def test_a_song_is_the_sum_of_its_recordings(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    """Unequal lengths, mono, another rate, a stem listed twice, sums beyond full scale."""
    loud = 0.9 * np.ones((2, 30_000), np.float32)
    slow = tune(0.5, 300.0, rate=48_000)
    mono = tune(1.2, 200.0, channels=1)
    recordings = {
        "vocals": [float_wave(loud), float_wave(loud[:, :20_000])],
        "bass": [float_wave(mono)],
        "drums": [float_wave(slow, 48_000)],
        "piano": [float_wave(tune(0.7, 500.0))],
        "wind": [float_wave(tune(0.3, 600.0))],
    }
    members = moises_song(SONG, recordings)
    listed = json.loads(members[f"{SONG}/data.json"])
    listed["stems"].append(listed["stems"][0])
    listed["stems"].append({"stemName": "other", "tracks": []})
    members[f"{SONG}/data.json"] = json.dumps(listed).encode()
    source = write_files(tmp_path / "moisesdb_v0.1", members)
    (song,) = mix_songs(source, home, corpus, CONFIG)
    sound = sounds(home, song)
    assert song.frames == mono.shape[1] == sound["mixture"].shape[1]

    def padded(*parts: Sound) -> Sound:
        total = np.zeros((2, song.frames), np.float64)
        for part in parts:
            total[:, : part.shape[1]] += part
        return total.astype(np.float32)

    resampled = soxr.resample(slow.T, 48_000, RATE, "HQ").T
    np.testing.assert_array_equal(sound["vocals"], padded(loud, loud[:, :20_000]))
    np.testing.assert_array_equal(sound["bass"], padded(np.repeat(mono, 2, axis=0)))
    np.testing.assert_allclose(sound["drums"], padded(resampled), atol=1e-6)
    np.testing.assert_allclose(
        sound["other"], padded(tune(0.7, 500.0), tune(0.3, 600.0)), atol=1e-7
    )
    assert sound["vocals"].max() > 1.7
    total = ((sound["bass"] + sound["drums"]) + sound["other"]) + sound["vocals"]
    np.testing.assert_array_equal(total, sound["mixture"])
    row = rows_of(corpus)[SONG]
    assert (row.outcome, row.sample_rate, row.seconds) == ("kept", RATE, song.frames / RATE)


@pytest.mark.parametrize("frames", [1, 65_535, 65_536, 65_537, 131_072, 150_001])
@pytest.mark.parametrize("rate", [RATE, 32_000, 96_000])
def test_blocks_join_without_a_seam(
    tmp_path: Path, home: Home, corpus: Corpus, frames: int, rate: int
) -> None:
    sound = np.random.default_rng(frames).normal(0, 0.1, (2, frames)).astype(np.float32)
    recordings = four_stems(0.1) | {"vocals": [float_wave(sound, rate)]}
    source = write_files(tmp_path / "moisesdb_v0.1", moises_song(SONG, recordings))
    (song,) = mix_songs(source, home, corpus, CONFIG)
    vocals = read_window(home.path(song.folder) / "vocals.wav")
    whole = sound if rate == RATE else soxr.resample(sound.T, rate, RATE, "HQ").T
    assert song.frames == max(whole.shape[1], 4410)
    np.testing.assert_allclose(vocals[:, : whole.shape[1]], whole, atol=1e-6)
    assert not vocals[:, whole.shape[1] :].any()


def test_zip_and_folder_and_any_number_of_workers_give_the_same_bytes(tmp_path: Path) -> None:
    members = moisesdb()
    made = []
    for name, source, workers in (
        ("zip", write_zip(tmp_path / "moisesdb.zip", members, zipfile.ZIP_DEFLATED), 2),
        (
            "nested",
            write_zip(tmp_path / "n.zip", {f"moisesdb/{n}": members[n] for n in members}),
            1,
        ),
        ("parent", write_files(tmp_path / "moisesdb", members), 1),
        ("folder", tmp_path / "moisesdb" / "moisesdb_v0.1", 2),
    ):
        # The same place, so that the songs' rows are alike.
        home = Home(tmp_path / "home")
        corpus = home.corpus("musdb", "key")
        told: list[tuple[int, int]] = []
        config = CONFIG.model_copy(update={"workers": workers})
        mix_songs(source, home, corpus, config, lambda *done, told=told: told.append(done))
        assert told == [(number, 4) for number in (1, 2, 3, 4)]
        made.append(contents(home.root))
        home.root.rename(tmp_path / f"home {name}")
    assert all(made[0] == other for other in made[1:])
    assert not [name for name in made[0] if "scratch" in name]
    assert (
        soundfile.info(io.BytesIO(made[0][f"musdb/key/songs/{SONG}/bass.wav"])).subtype == "FLOAT"
    )


def test_songs_with_many_stems_are_filtered_and_move_no_split(
    tmp_path: Path, home: Home, corpus: Corpus
) -> None:
    members = moisesdb(20, 0.1)
    many = four_stems(0.1) | {"piano": [float_wave(tune(0.1))], "wind": []}
    for number in (3, 7):
        song = moises_song(song_id(number), many, f"Artist {number}")
        members |= {f"moisesdb_v0.1/{name}": data for name, data in song.items()}
    source = write_files(tmp_path / "moisesdb", members)
    every = mix_songs(source, home, corpus, SPLIT)
    few = mix_songs(source, home, home.corpus("musdb", "few"), MusdbConfig(max_stems=4, workers=1))
    rows = rows_of(home.corpus("musdb", "few"))
    filtered = {row.track: (row.reason, row.detail) for row in rows.values() if row.reason}
    assert filtered == {song_id(n): ("too_many_stems", "5 stems") for n in (3, 7)}
    assert len(every) == 20 == len(few) + 2
    assert {(song.name, song.split) for song in few} < {(song.name, song.split) for song in every}
    splits = [song.split for song in every]
    assert [splits.count(split) for split in ("train", "validation", "test")] == [16, 2, 2]


def test_a_missing_stem_is_silence_and_a_missing_recording_is_noted(
    tmp_path: Path, home: Home, corpus: Corpus
) -> None:
    recordings = four_stems() | {"guitar": four_stems()["guitar"] * 2}
    del recordings["vocals"]
    members = moises_song(SONG, recordings)
    lost = sorted(name for name in members if "/guitar/" in name)[0]
    del members[lost]
    listed = json.loads(members[f"{SONG}/data.json"])
    # Listed without a single file, it is no stem that the song has.
    listed["stems"].append({"stemName": "wind", "tracks": [{"id": "gone", "extension": "wav"}]})
    members[f"{SONG}/data.json"] = json.dumps(listed).encode()
    source = write_files(tmp_path / "moisesdb_v0.1", members)
    (song,) = mix_songs(source, home, corpus, CONFIG.model_copy(update={"max_stems": 3}))
    sound = sounds(home, song)
    assert not sound["vocals"].any()
    assert all(sound[stem].any() for stem in ("bass", "drums", "other"))
    assert rows_of(corpus)[SONG].detail == "no vocals; recordings listed but not there: 2"


def test_names_tell_songs_apart(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    members = moisesdb(2)
    for number, title in ((2, "Søng"), (3, "日本 / \u2028 ☂")):
        song = moises_song(song_id(number), four_stems(), "Artist 1", title)
        members |= {f"moisesdb_v0.1/{name}": data for name, data in song.items()}
    songs = mix_songs(write_files(tmp_path / "m", members), home, corpus, CONFIG)
    assert {song.name for song in songs} == {
        "Artist 0 - Søng",
        f"Artist 1 - Søng ({song_id(1)})",
        f"Artist 1 - Søng ({song_id(2)})",
        "Artist 1 - 日本 / \u2028 ☂",
    }
    assert read_rows(corpus.songs, StemSong) == songs
    assert len({song.split for song in songs if song.name.startswith("Artist 1")}) == 1


def with_track(**fields: str) -> bytes:
    stems = [{"stemName": "vocals", "tracks": [{"id": "a", "extension": "wav", **fields}]}]
    return json.dumps({"song": "S", "artist": "A", "stems": stems}).encode()


def nan(sound: Sound) -> bytes:
    sound[0, 500] = math.nan
    return float_wave(sound)


METADATA = f"{SONG}/data.json"
VOCALS = f"{SONG}/vocals/a.wav"


@pytest.mark.parametrize(
    ("files", "reason", "words"),
    [
        ({METADATA: b"{"}, "metadata", "Invalid JSON"),
        ({METADATA: b"[]"}, "metadata", "says nothing useful"),
        ({METADATA: b'{"song": "\\ud800", "artist": "A", "stems": []}'}, "metadata", "data.json"),
        ({METADATA: b" " * (1 << 20) + b"{}"}, "metadata", "more than one has"),
        ({METADATA: with_track(id="../../../x")}, "metadata", "stems.0.tracks.0.id"),
        ({METADATA: with_track(extension="wav/../../x")}, "metadata", "tracks.0.extension"),
        ({METADATA: with_track().replace(b"vocals", b"kazoo")}, "metadata", "stems.0.stemName"),
        ({METADATA: with_track().replace(b"vocals", b"../vocals")}, "metadata", "stemName"),
        ({METADATA: with_track()}, "empty", "none of its recordings"),
        ({METADATA: with_track(), VOCALS: b""}, "unreadable", r"vocals/a\.wav is no readable"),
        ({METADATA: with_track(), VOCALS: b"RIFF"}, "unreadable", "no readable audio"),
        ({METADATA: with_track(), VOCALS: float_wave(tune(1)[:, :0])}, "empty", "none"),
        ({METADATA: with_track(), VOCALS: float_wave(tune(1, channels=4))}, "format", "4 channels"),
        (
            {METADATA: with_track(), VOCALS: float_wave(tune(1))[:90_000]},
            "truncated",
            "90000 bytes",
        ),
        ({METADATA: with_track(), VOCALS: nan(tune(3))}, "non_finite", "no numbers"),
    ],
)
def test_a_damaged_song_is_quarantined_and_costs_no_other(
    tmp_path: Path, home: Home, corpus: Corpus, files: dict[str, bytes], reason: str, words: str
) -> None:
    good = moises_song(song_id(1), four_stems())
    source = write_files(tmp_path / "moisesdb_v0.1", {**good, **files})
    (song,) = mix_songs(source, home, corpus, LENIENT)
    assert song.folder.endswith(song_id(1))
    row = rows_of(corpus)[SONG]
    assert (row.outcome, row.reason) == ("quarantined", reason)
    assert re.search(words, row.detail)
    assert str(tmp_path) not in row.detail
    written = {path.name for path in home.root.rglob("*") if path.is_file()}
    assert not [name for name in written if name.endswith("arriving")]
    with pytest.raises(DataError, match=r"1 of 2 songs cannot be used, more than"):
        mix_songs(source, home, corpus, CONFIG)


def test_eleven_stems_keep_their_names(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    sounds = {name: tune(0.3, 60.0 * (n + 1)) for n, name in enumerate(MOISESDB_STEMS)}
    lacking = {name: sound for name, sound in sounds.items() if name != "wind"}
    recordings = {name: [float_wave(sound)] for name, sound in lacking.items()}
    source = write_files(tmp_path / "moisesdb_v0.1", moises_song(song_id(0), recordings))
    config = CONFIG.model_copy(update={"stems": MOISESDB_STEMS})
    (song,) = mix_songs(source, home, corpus, config)
    assert song.stems == MOISESDB_STEMS
    folder = home.path(song.folder)
    for name in MOISESDB_STEMS:
        expected = sounds[name] if name in lacking else np.zeros_like(sounds[name])
        np.testing.assert_array_equal(read_window(folder / f"{name}.wav"), expected)
    total = np.zeros_like(sounds["bass"])
    for name in sorted(lacking):
        total += sounds[name]
    np.testing.assert_array_equal(read_window(folder / "mixture.wav"), total)
    (row,) = read_rows(corpus.ledger(LEDGER), LedgerRow)
    assert row.detail == "no wind"


def test_what_is_in_no_stem_is_in_the_mixture(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    vocals, bass, piano = (tune(0.3, pitch) for pitch in (100.0, 200.0, 300.0))
    recordings = {
        "vocals": [float_wave(vocals)], "bass": [float_wave(bass)], "piano": [float_wave(piano)]
    }  # fmt: skip
    source = write_files(tmp_path / "moisesdb_v0.1", moises_song(song_id(0), recordings))
    changes = {"stems": ("vocals", "low"), "mix": {"low": ("bass", "drums")}}
    config = CONFIG.model_copy(update=changes)
    (song,) = mix_songs(source, home, corpus, config)
    folder = home.path(song.folder)
    assert {path.name for path in folder.glob("*.wav")} == {"vocals.wav", "low.wav", "mixture.wav"}
    np.testing.assert_array_equal(read_window(folder / "low.wav"), bass)
    np.testing.assert_allclose(
        read_window(folder / "mixture.wav"), vocals + bass + piano, atol=1e-6
    )

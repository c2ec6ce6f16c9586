"""The archives as a whole: true to format, the same bytes every time, accidents included."""

import csv
import hashlib
import io
import zipfile
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipelines.config import MUSDB_VALIDATION
from pipelines.synthesis.config import SynthesisConfig
from pipelines.synthesis.corpora import Corpora, synthesise
from pipelines.synthesis.fma_corpus import ACCIDENTS, NOT_AUDIO, plan_tracks
from pipelines.synthesis.musdb_corpus import plan_songs
from storage.errors import ConfigError

TINY = SynthesisConfig(
    tracks=2,
    track_seconds=6,
    train_songs=2,
    validation_songs=1,
    test_songs=1,
    song_seconds=6,
    workers=1,
)
STEMS = ("bass", "drums", "other", "vocals")


@pytest.fixture(scope="module")
def heard() -> list[tuple[int, int]]:
    return []


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory, heard: list[tuple[int, int]]) -> Corpora:
    folder = tmp_path_factory.mktemp("corpora") / "new"
    return synthesise(TINY, folder, lambda done, total: heard.append((done, total)))


@pytest.fixture(scope="module")
def files(corpora: Corpora) -> dict[int, bytes]:
    with zipfile.ZipFile(corpora.fma) as archive:
        names = [name for name in archive.namelist() if name.endswith(".mp3")]
        return {int(Path(name).stem): archive.read(name) for name in names}


def sums(corpora: Corpora) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in astuple(corpora)]


def decode(data: bytes) -> tuple[np.ndarray, int]:
    sound, rate = soundfile.read(io.BytesIO(data), always_2d=True)
    return sound, rate


def test_any_number_of_workers_writes_the_same_bytes(corpora: Corpora, tmp_path: Path) -> None:
    again = synthesise(TINY.model_copy(update={"workers": 2}), tmp_path)
    assert sums(again) == sums(corpora)


def test_nothing_is_left_beside_the_archives(corpora: Corpora) -> None:
    assert sorted(path.name for path in corpora.fma.parent.iterdir()) == [
        "fma_demo.zip",
        "fma_metadata.zip",
        "musdb18hq_demo.zip",
    ]


def test_progress_counts_every_song(corpora: Corpora, heard: list[tuple[int, int]]) -> None:
    total = TINY.tracks + len(ACCIDENTS) + TINY.train_songs + TINY.test_songs
    assert heard == [(done, total) for done in range(1, total + 1)]


def test_fma_members_are_those_of_the_real_archives(corpora: Corpora) -> None:
    with zipfile.ZipFile(corpora.fma) as archive:
        assert archive.testzip() is None
        members = archive.infolist()
    names = [member.filename for member in members]
    assert names[:3] == ["fma_demo/README.txt", "fma_demo/checksums", "fma_demo/000/000002.mp3"]
    assert names[2:] == sorted(names[2:])
    assert {member.compress_type for member in members} == {zipfile.ZIP_BZIP2}
    assert {member.date_time for member in members} == {(2017, 4, 1, 0, 0, 0)}
    assert {member.external_attr >> 16 for member in members} == {0o100444}


def test_checksums_are_the_sha1_of_the_members(corpora: Corpora) -> None:
    with zipfile.ZipFile(corpora.fma) as archive:
        lines = archive.read("fma_demo/checksums").decode().splitlines()
        assert len(lines) == TINY.tracks + len(ACCIDENTS)
        for line in lines:
            digest, path = line.split("  ")
            assert hashlib.sha1(archive.read(f"fma_demo/{path}")).hexdigest() == digest


def test_tracks_decode_to_the_length_they_promise(files: dict[int, bytes]) -> None:
    tracks = [track for track in plan_tracks(TINY) if track.accident is None]
    assert len(tracks) == TINY.tracks
    for track in tracks:
        sound, rate = decode(files[track.number])
        assert rate == 44_100
        assert sound.shape == (round(track.seconds * rate), 2)
        assert 0.01 < np.sqrt(np.mean(sound**2)) < 0.5


def test_accidents_behave(files: dict[int, bytes]) -> None:
    by_accident = {accident: files[number] for number, accident in ACCIDENTS.items()}
    assert by_accident["empty"] == b""
    assert by_accident["not audio"] == NOT_AUDIO
    with pytest.raises(soundfile.LibsndfileError):
        decode(by_accident["not audio"])
    truncated = soundfile.SoundFile(io.BytesIO(by_accident["truncated"]))
    assert 0.1 < len(truncated.read()) / truncated.frames < 0.5
    assert len(decode(by_accident["short"])[0]) == 3 * 44_100
    assert decode(by_accident["22.05 kHz"])[1] == 22_050
    assert decode(by_accident["48 kHz"])[1] == 48_000
    assert decode(by_accident["mono"])[0].shape[1] == 1
    silent = np.abs(decode(by_accident["silent gap"])[0]).max(axis=1) < 1e-4
    assert silent.sum() > 12 * 44_100


def test_accidents_are_left_out_on_request() -> None:
    tracks = plan_tracks(TINY.model_copy(update={"damaged": False}))
    assert [track.accident for track in tracks] == [None] * TINY.tracks


def test_tracks_table(corpora: Corpora, files: dict[int, bytes]) -> None:
    with zipfile.ZipFile(corpora.fma_metadata) as archive:
        text = archive.read("fma_metadata/tracks.csv").decode()
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == ["", "artist", "set", "set", "track", "track", "track", "track"]
    assert rows[1][1:] == ["name", "split", "subset", "duration", "genre_top", "license", "title"]
    assert rows[2] == ["track_id", "", "", "", "", "", "", ""]
    assert [int(row[0]) for row in rows[3:]] == list(files)
    assert {row[2] for row in rows[3:]} == {"training", "validation"}
    assert {row[3] for row in rows[3:]} == {"demo"}


def test_musdb_mixture_is_the_exact_sum_of_its_stems(corpora: Corpora) -> None:
    songs = plan_songs(TINY)
    with zipfile.ZipFile(corpora.musdb) as archive:
        assert len(archive.namelist()) == 5 * len(songs)
        for song in songs:
            sounds = {}
            for name in (*STEMS, "mixture"):
                stream = io.BytesIO(archive.read(f"{song.folder}/{name}.wav"))
                info = soundfile.info(stream)
                assert (info.subtype, info.samplerate, info.channels) == ("PCM_16", 44_100, 2)
                stream.seek(0)
                sounds[name] = soundfile.read(stream, dtype="int16")[0].astype(int)
            assert sounds["mixture"].shape == (round(song.plan.seconds * 44_100), 2)
            total = sum(sounds[name] for name in STEMS)
            np.testing.assert_array_equal(sounds["mixture"], total)


def test_musdb_folders(corpora: Corpora) -> None:
    folders = [song.folder for song in plan_songs(TINY)]
    assert folders[0] == f"train/{MUSDB_VALIDATION[0]}"
    assert [folder.split("/")[0] for folder in folders] == ["train", "train", "test"]
    assert len(set(folders)) == 3


@pytest.mark.parametrize("setting", ["validation_songs=3", "tracks=200000"])
def test_more_than_the_formats_hold_is_refused(setting: str, tmp_path: Path) -> None:
    config = TINY.override([setting])
    with pytest.raises(ConfigError, match=setting.replace("=", " = ")):
        synthesise(config, tmp_path / "never")
    assert not (tmp_path / "never").exists()

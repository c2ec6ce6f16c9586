"""Songs and stems of any name: separated, into folders of their own, and nowhere else."""

import logging
import os
from pathlib import Path

import pytest

from storage.audio.waveforms import read_window
from storage.errors import ConfigError, DataError
from storage.records import STEMS
from tests.synthesised import write_audio
from tests.training.jobs.test_separate_songs import CONFIG, encoded, noise
from training.checkpoints.weights import save_model
from training.config import DeliveryConfig, TrainConfig
from training.inference.song_files import Shape, stem_files
from training.jobs.separate_songs import separate_songs
from training.models.separator import build

UNSAFE = ("...wav", "..wav", ".wav", "CON.wav", " .wav", "a?.wav", os.fsdecode(b"caf\xe9.wav"))
SAFE = ("[red] $y$.wav", "Song.flac")


def model_of(folder: Path, recipe: TrainConfig, stems: tuple[str, ...]) -> Path:
    explanation = {"model": recipe.model.model_dump(mode="json"), "stems": list(stems)}
    save_model(folder, build(recipe.model).state_dict(), explanation)
    return folder


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def song(path: Path) -> Path:
    """Write a song by a name that every library takes, and give it its own."""
    plain = path.with_name(f"plain{path.suffix or '.wav'}")
    write_audio(plain, noise(1, 300), 8000, "PCM_16")
    return plain.rename(path)


def test_songs_of_any_name_stay_in_the_destination(
    tmp_path: Path, mixit: TrainConfig, caplog: pytest.LogCaptureFixture
) -> None:
    model = model_of(tmp_path / "model", mixit, STEMS)
    music, out = tmp_path / "music", tmp_path / "place" / "out"
    music.mkdir()
    songs = [song(music / name) for name in (*UNSAFE, *SAFE)]
    encoded(music / "plain.m4a", "aac", 44_100, "stereo")
    songs.append((music / "plain.m4a").rename(music / os.fsdecode(b"\xff.m4a")))
    out.parent.mkdir()
    (out.parent / "bass.wav").write_text("precious")
    with caplog.at_level(logging.INFO):
        separate_songs(model, songs, out, CONFIG)
    assert (out.parent / "bass.wav").read_text() == "precious"
    assert names_in(out.parent) == ["bass.wav", "out"]
    assert len(names_in(out)) == len(songs)
    assert {"[red] $y$", "Song"} <= set(names_in(out))
    assert all(len(names_in(folder)) == len(STEMS) for folder in out.iterdir())
    renamed = [one.message for one in caplog.records if "is written to" in one.message]
    assert len(renamed) == len(UNSAFE) + 1
    assert caplog.text.isascii()
    assert r"caf\xe9.wav is written to 'caf_~" in caplog.text


def test_names_that_a_disk_may_take_for_one_get_two_folders(
    tmp_path: Path, mixit: TrainConfig
) -> None:
    model = model_of(tmp_path / "model", mixit, STEMS)
    songs = [song(tmp_path / name) for name in ("Song.wav", "song.wav", "é.wav", "e\u0301.wav")]
    separate_songs(model, songs, tmp_path / "out", CONFIG)
    assert len({name.partition("~")[2] for name in names_in(tmp_path / "out")}) == 4
    with pytest.raises(ConfigError, match=r"would both be written to 'caf\\xe9'; separate"):
        names = (os.fsdecode(f"{folder}/caf".encode() + b"\xe9.wav") for folder in "ab")
        separate_songs(model, [Path(name) for name in names], tmp_path / "out", CONFIG)


def test_a_song_of_odd_name_that_is_no_song_costs_no_other(
    tmp_path: Path, mixit: TrainConfig
) -> None:
    model = model_of(tmp_path / "model", mixit, STEMS)
    odd = tmp_path / os.fsdecode(b"b\xe9.mp3")
    odd.write_text("la la la")
    with pytest.raises(DataError, match=r"1 of 2 songs .*b\\xe9\.mp3 .*is no audio"):
        separate_songs(model, [odd, song(tmp_path / "good.wav")], tmp_path / "out", CONFIG)
    assert names_in(tmp_path / "out") == ["good"]


def test_a_models_own_names_lead_nowhere(tmp_path: Path, mixit: TrainConfig) -> None:
    """A published model names its outputs as it likes."""
    stems = ("../bass", "drums", "Drums", "x/y$z")
    model = model_of(tmp_path / "model", mixit, stems)
    out = tmp_path / os.fsdecode(b"out\xe9")
    delivery = DeliveryConfig(pictures=True)
    separate_songs(model, [song(tmp_path / "song.wav")], out, CONFIG, delivery)
    assert [path.name for path in out.iterdir()] == ["song"]
    files = sorted(path.name for path in (out / "song").iterdir())
    assert [name.partition("~")[0] for name in files] == [
        *["Drums"] * 2, *["_bass"] * 2, *["drums"] * 2, *["x_y$z"] * 2,
    ]  # fmt: skip


def test_stems_are_written_by_any_path(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xe9")
    with stem_files(folder, ["a"], Shape(8000, 1, 50, "wav")) as files:
        files.write(noise(1, 50)[None])
    assert read_window(folder / "a.wav").shape == (1, 50)

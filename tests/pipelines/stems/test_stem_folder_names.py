"""A folder of stems: songs of any name, what is no song, and songs by one artist alone."""

import os
import shutil
from pathlib import Path

import pytest

from pipelines.stems.stem_folder import read_songs
from storage.errors import DataError
from storage.home.layout import Corpus, Home
from tests.pipelines.stems.test_stem_folder import (
    CONFIG,
    GOOD,
    LENIENT,
    SIX,
    rows_of,
    six_files,
    splits,
)
from tests.stem_archives import stem_folder, write_files

LITTER = ("@eaDir", "#recycle", "System Volume Information", "__MACOSX", "lost+found", ".Trash")


def test_what_systems_leave_is_no_song(tmp_path: Path, home: Home, corpus: Corpus) -> None:
    files = stem_folder(GOOD, 0.1)
    files |= {f"{split}/{name}/x/bass.txt": b"" for name in LITTER for split in ("train", "test")}
    files |= {f"{GOOD[0]}/{name}": b"x" for name in ("@eaDir/bass.wav/x", "._bass.wav")}
    assert len(read_songs(write_files(tmp_path / "stems", files), home, corpus, CONFIG)) == 3
    assert len(rows_of(corpus)) == 3
    # A song may be called like one.
    write_files(tmp_path / "stems", stem_folder(["train/lost+found"], 0.1))
    assert "lost+found" in splits(read_songs(tmp_path / "stems", home, corpus, CONFIG))


def test_a_title_is_one_in_whatever_form_it_is_written(
    tmp_path: Path, home: Home, corpus: Corpus
) -> None:
    titles = ("train/Zoe\u0308 - One", "test/Zo\u00eb - One", "train/Ame\u0301lie - Two")
    folder = write_files(tmp_path / "stems", stem_folder([*GOOD, *titles], 0.1))
    config = LENIENT.model_copy(update={"validation": ("Am\u00e9lie - Two",)})
    found = splits(read_songs(folder, home, corpus, config))
    assert found["Ame\u0301lie - Two"] == "validation"
    assert len(found) == 5 and "Zoe\u0308 - One" not in found
    row = rows_of(corpus)["train/Zoe\u0308 - One"]
    assert (row.reason, row.detail) == (
        "duplicate_title", "it lies in test/ too as Zo\u00eb - One; keep one of the two",
    )  # fmt: skip


def test_songs_of_one_artist_are_refused_before_they_are_examined(
    tmp_path: Path, home: Home, corpus: Corpus
) -> None:
    """Nothing would validate: training would say so after hours of other work."""
    titles = ("train/Ada - One", "train/ada  - Two", "test/Cy - Three")
    folder = write_files(tmp_path / "stems", stem_folder(titles, 0.1))
    told: list[tuple[int, int]] = []
    with pytest.raises(DataError, match=r"none of the 3 .* validation split, .* one: add songs"):
        read_songs(folder, home, corpus, CONFIG, lambda *done: told.append(done))
    assert not told and not corpus.root.exists()
    for change in ({"validation_share": 0.0}, {"validation": ("Ada - One",)}):
        assert len(read_songs(folder, home, corpus, CONFIG.model_copy(update=change))) == 3
    (folder / "train").rename(folder / "validation")
    assert len(read_songs(folder, home, corpus, CONFIG)) == 3


@pytest.mark.parametrize("name", [b"a\nb", b"caf\xe9", b"tab\there"])
def test_unprintable_names_are_quarantined(
    tmp_path: Path, home: Home, corpus: Corpus, name: bytes
) -> None:
    folder = write_files(tmp_path / "stems", stem_folder(GOOD, 0.1))
    shutil.copytree(folder / GOOD[0], folder / "train" / os.fsdecode(name))
    assert len(read_songs(folder, home, corpus, LENIENT)) == 3
    (row,) = (row for row in rows_of(corpus).values() if row.reason)
    assert row.reason == "unsafe_name"
    assert row.track == f"train/{os.fsdecode(name)!a}"


def test_sums_of_songs_of_any_title_stay_in_the_corpus(
    tmp_path: Path, home: Home, corpus: Corpus
) -> None:
    titles = ("train/Ada - Who?", "train/CON", "train/Bo - Etc.", "train/bo - etc", "test/x")
    folder = write_files(tmp_path / "stems", six_files((*titles, f"train/{'ü' * 120}")))
    mix = {"rest": tuple(name for name in SIX if name != "voice")}
    config = CONFIG.model_copy(update={"stems": ("voice", "rest"), "mix": mix})
    songs = read_songs(folder, home, corpus, config)
    made = {song.name: home.path(song.folder) for song in songs}
    assert made.keys() == {title.partition("/")[2] for title in (*titles, f"/{'ü' * 120}")}
    assert len({path.name.lower() for path in made.values()}) == 6
    assert made["x"] == corpus.root / "test" / "x"
    for path in made.values():
        assert path.parent.parent == corpus.root
        assert (path / "rest.wav").is_file()
        assert len(path.name.encode()) <= 200 and path.name.strip(" .?") == path.name != "CON"

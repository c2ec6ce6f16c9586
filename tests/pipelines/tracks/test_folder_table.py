"""`tracks.csv` of a folder: each row finds its file, however its path is spelled, or is refused."""

import re
from pathlib import Path
from unicodedata import normalize

import pytest

from pipelines.tracks.folder import read_folder
from storage.errors import ManifestError
from tests.pipelines.tracks.test_folder import fill


def test_a_table_tells_better(tmp_path: Path) -> None:
    root = fill(tmp_path, {"a.mp3": b"a", "b/c.mp3": b"c", "d.mp3": b"d"})
    (root / "tracks.csv").write_text(
        "\ufeffpath,artist,title,licence,split\n"
        'a.mp3,"Ada, Bo",,CC BY,validation\nb/c.mp3,,Tune,,\nnone.mp3,x,x,,\n'
    )
    warnings: list[str] = []
    first, second, third = read_folder(root, warn=warnings.append)
    assert (first.artist, first.title, first.licence, first.split) == (
        "Ada, Bo", "a", "CC BY", "validation",
    )  # fmt: skip
    assert (second.artist, second.title, second.split) == ("b", "Tune", "training")
    assert (third.artist, third.title) == ("", "d")
    assert len(warnings) == 1 and "line 4 names 'none.mp3'" in warnings[0]


@pytest.mark.parametrize("there", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize(
    "spelled", ["Ünal/é.mp3", "./Ünal/é.mp3", "Ünal\\é.mp3", ".\\Ünal//./é.mp3"]
)
def test_a_row_finds_its_file_however_it_is_spelled(
    tmp_path: Path, there: str, written: str, spelled: str
) -> None:
    """A validation track that is not found would be trained on."""
    name = normalize(there, "Ünal/é.mp3")  # type: ignore[arg-type]
    root = fill(tmp_path, {name: b"a"})
    row = normalize(written, spelled)  # type: ignore[arg-type]
    (root / "tracks.csv").write_text(f"path,split,licence\n{row},validation,CC BY\n")
    (track,) = read_folder(root, warn=pytest.fail)
    assert (track.split, track.licence, track.member) == ("validation", "CC BY", name)


def test_a_backslash_may_be_a_files_own(tmp_path: Path) -> None:
    root = fill(tmp_path, {"a\\b.mp3": b"1", "c.mp3": b"2"})
    (root / "tracks.csv").write_text("path,split\na\\b.mp3,test\n")
    tracks = {track.member: track.split for track in read_folder(root, warn=pytest.fail)}
    assert tracks == {"a\\b.mp3": "test", "c.mp3": "training"}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("b.mp3,validation,", "line 2 names 'b.mp3' with split 'validation', but .* correct the"),
        ("A.MP3,,CC BY", r"with licence 'CC BY', .*\(did you mean 'a.mp3'\?\), or delete the line"),
        ("/a.mp3,test,CC0", "with split 'test' and licence 'CC0'"),
        ("../a.mp3,test,", "names '../a.mp3' with split"),
        ("cover.jpg,,CC0", "names 'cover.jpg' with licence"),
        (" a.mp3,test,", "names ' a.mp3' with split"),
    ],
)
def test_a_split_or_licence_of_no_file_is_refused(tmp_path: Path, row: str, words: str) -> None:
    root = fill(tmp_path, {"a.mp3": b"a", "cover.jpg": b""})
    (root / "tracks.csv").write_text(f"path,split,licence\n{row}\n")
    with pytest.raises(ManifestError, match=words):
        read_folder(root)


def test_rows_that_may_be_of_two_files_are_refused(tmp_path: Path) -> None:
    composed, decomposed = "\u00e9.mp3", "e\u0301.mp3"
    root = fill(tmp_path, {composed: b"1", decomposed: b"2"})
    (root / "tracks.csv").write_text(f"path,split\n{composed},test\n")
    both = re.escape(f"{decomposed!a} or {composed!a}")
    with pytest.raises(ManifestError, match=f"line 2 .* may be {both}; .* give each a row"):
        read_folder(root)
    (root / "tracks.csv").write_text(f"path,split\n{composed},test\n{decomposed},validation\n")
    splits = {track.member: track.split for track in read_folder(root)}
    assert splits == {composed: "test", decomposed: "validation"}


def test_two_rows_of_one_file_must_agree(tmp_path: Path) -> None:
    root = fill(tmp_path, {"a.mp3": b"a"})
    (root / "tracks.csv").write_text("path,split\na.mp3,test\n./a.mp3,test\n")
    assert [track.split for track in read_folder(root)] == ["test"]
    (root / "tracks.csv").write_text("path,split\na.mp3,test\n./a.mp3,\n")
    with pytest.raises(ManifestError, match=r"lines 2 and 3 say different things of 'a\.mp3'"):
        read_folder(root)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (b"path,license\na.mp3,x\n", "has the columns path, license; it may have path, artist"),
        (b"artist\nx\n", "must have path"),
        (b"", "must have path"),
        (b"path,artist\na.mp3\n", "line 2 does not have as many cells"),
        (b"path,artist\na.mp3,x,y\n", "line 2 does not have as many cells"),
        (b"path,split\na.mp3,train\n", r"tracks\.csv, a\.mp3: .*'train'"),
        (b"path\n\xff\xfe\n", "no readable table"),
    ],
)
def test_a_malformed_table_is_refused(tmp_path: Path, table: bytes, words: str) -> None:
    root = fill(tmp_path, {"a.mp3": b"a", "tracks.csv": table})
    with pytest.raises(ManifestError, match=words):
        read_folder(root)

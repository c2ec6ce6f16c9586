"""Any name gives a file of its own in its folder, on any system."""

import tempfile
import unicodedata
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.names.file_names import LONGEST_BYTES, file_names, is_file_name

PIECES = st.sampled_from(
    (
        *("..", ".", " ", "/", "\\", "CON", "con", "nul.txt", "COM¹", "~0123456789ab"),
        *("~0123456789AB", "é", "e\u0301", "É", "ﬀ", "ff", "ẞ", "SS", "\udce9", "\ud800", "\0"),
        *("\n", "\u2028", "\u202e", "a" * 199, "ü" * 101, "?", ":", "\uffff"),
    )
)  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
NAMES = st.lists(st.one_of(PIECES, TEXT), max_size=4).map("".join)


def as_a_disk_has_it(name: str) -> str:
    """Return what names have in common that a disk may take for one (Unicode's definition 145)."""
    decomposed = unicodedata.normalize("NFD", name)
    return unicodedata.normalize("NFD", decomposed.casefold())


@given(st.lists(NAMES, max_size=6))
@example(["", ".", "..", "...", " "])
@example(["x~da39a3ee5e6b", "x", "X", "x ", "x."])
@example(["Song", "song", "é", "e\u0301", "é" * 500, "é" * 501])
def test_each_name_has_its_own_file_in_the_folder(names: list[str]) -> None:
    files = file_names(names)
    assert files.keys() == set(names)
    assert len({as_a_disk_has_it(file) for file in files.values()}) == len(files)
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "folder"
        folder.mkdir()
        for file in files.values():
            path = folder / f"{file}-reference.flac"
            path.touch()
            assert path.resolve().parent == folder.resolve()
        assert len(list(folder.iterdir())) == len(files)
        assert list(Path(root).iterdir()) == [folder]


@given(NAMES)
def test_files_are_called_as_windows_and_people_can_read_it(name: str) -> None:
    (file,) = file_names([name]).values()
    path = PureWindowsPath(file)
    assert (path.name, path.drive, path.is_reserved()) == (file, "", False)
    assert PureWindowsPath(f"{file}.wav").is_reserved() is False
    assert not set(file) & set('<>:"/\\|?*')
    assert file.strip(" .") == file
    assert not any(unicodedata.category(one) in ("Cc", "Cs") for one in file)
    assert 0 < len(file.encode()) <= LONGEST_BYTES
    assert (file == name) == is_file_name(name)


@given(st.lists(NAMES, unique=True, max_size=4), st.randoms())
def test_the_order_of_names_is_nothing(names: list[str], random: object) -> None:
    assert file_names(reversed(names)) == file_names(names)


@pytest.mark.parametrize(
    "name",
    ["Al James - Schoolboy Facination", "The Wrong'Uns - Rothko", "Ünal", "e\u0301", "日本", "a.b",
     "-rf", "con-man", "x~12", "[red] $y$"],
)  # fmt: skip
def test_usual_names_are_kept(name: str) -> None:
    assert file_names([name, "another"])[name] == name


def test_other_names_can_still_be_read() -> None:
    files = file_names(["AC/DC: Live?", "caf\udce9", "nul.old", "..."])
    assert [file.rpartition("~")[0] for file in files.values()] == [
        "AC_DC_ Live_", "caf_", "_nul.old", "unnamed",
    ]  # fmt: skip

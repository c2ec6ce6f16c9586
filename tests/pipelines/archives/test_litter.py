"""What systems leave among recordings."""

import pytest

from pipelines.archives.litter import in_litter, is_litter


@pytest.mark.parametrize(
    "name",
    ["@eaDir", "lost+found", ".DS_Store", "#recycle", "System Volume Information", "__MACOSX",
     "._a.mp3", "Thumbs.db", "$RECYCLE.BIN"],
)  # fmt: skip
def test_what_systems_leave_is_none_of_the_owners(name: str) -> None:
    assert is_litter(name)
    assert in_litter(f"./train/{name}/a.wav")
    assert in_litter(name)


def test_songs_are_no_litter() -> None:
    for path in ("train/Lost + Found/a.wav", "./a.wav", "../a", "...Justice/a.wav", "", "MACOSX/a"):
        assert not in_litter(path)

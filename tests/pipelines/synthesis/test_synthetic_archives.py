"""Archives arrive whole or not at all."""

import zipfile
from pathlib import Path

import pytest

from pipelines.synthesis.synthetic_archives import add_member, new_archive


def test_an_interrupted_archive_never_appears(tmp_path: Path) -> None:
    path = tmp_path / "songs.zip"
    path.write_bytes(b"the old one")
    with pytest.raises(KeyboardInterrupt), new_archive(path) as archive:
        add_member(archive, "one.wav", b"sound", zipfile.ZIP_DEFLATED)
        raise KeyboardInterrupt
    assert path.read_bytes() == b"the old one"
    assert [child.name for child in tmp_path.iterdir()] == ["songs.zip"]


def test_a_leftover_of_a_killed_run_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "songs.zip"
    (tmp_path / ".songs.zip.partial").write_bytes(b"half" * 1000)
    with new_archive(path) as archive:
        add_member(archive, "one.wav", b"sound", zipfile.ZIP_BZIP2)
    with zipfile.ZipFile(path) as archive:
        assert archive.read("one.wav") == b"sound"
    assert [child.name for child in tmp_path.iterdir()] == ["songs.zip"]

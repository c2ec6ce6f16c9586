"""A home is opened by a folder's path in any form; other addresses are refused."""

import os
from pathlib import Path

import pytest

from storage.errors import ConfigError
from storage.home.open import open_existing, open_home


def test_a_path_in_any_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for text in ("home", "./home", "~/home", str(tmp_path / "home"), "other/../home/"):
        assert open_home(text).root == tmp_path / "home"
    assert not (tmp_path / "home").exists(), "opening creates nothing"


def test_neither_a_file_nor_another_scheme(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file is a file; give a folder"):
        open_home(str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="gs://bucket/prefix: give a folder, or s3://"):
        open_home("gs://bucket/prefix")
    with pytest.raises(ConfigError, match=r"hom\\xe9: its name is not UTF-8"):
        open_home(os.fsdecode(bytes(tmp_path) + b"/hom\xe9"))


def test_what_only_reads_wants_a_home_that_is_there(tmp_path: Path) -> None:
    assert open_existing(str(tmp_path)).root == tmp_path
    with pytest.raises(ConfigError, match=r"there is no home at .*nowhere; run a study there"):
        open_existing(str(tmp_path / "nowhere"))
    for empty in ("", " "):
        with pytest.raises(ConfigError, match="--home is empty"):
            open_existing(empty)

"""An empty home, and the corpus of stems that the tests of this room make in it."""

from pathlib import Path

import pytest

from storage.home.layout import Corpus, Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def corpus(home: Home) -> Corpus:
    return home.corpus("musdb", "key")

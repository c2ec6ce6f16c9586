"""Names of any bytes -> text, and back."""

import json
import os
from pathlib import Path

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from storage.audio.waveforms import probe, read_window
from storage.names.spelling import composed, folded, found_path, printable, stored_path
from tests.synthesised import write_audio

PARTS = st.binary(min_size=1, max_size=12).filter(
    lambda part: not set(part) & {0, ord("/")} and part not in (b".", b"..")
)
PATHS = st.lists(PARTS, min_size=1, max_size=3).map(lambda parts: os.fsdecode(b"/".join(parts)))


@given(PATHS)
def test_a_stored_path_is_text_and_found_again(path: str) -> None:
    stored = stored_path(path)
    assert stored.isprintable()
    assert found_path(json.loads(json.dumps(stored, ensure_ascii=False).encode())) == path


@given(PATHS, PATHS)
def test_two_paths_are_not_stored_alike(first: str, second: str) -> None:
    assume(first != second)
    assert stored_path(first) != stored_path(second)


@given(st.text(min_size=1).filter(lambda text: text.isprintable() and not text.startswith("./")))
def test_printable_paths_are_stored_as_they_are(path: str) -> None:
    assert stored_path(path) == found_path(path) == printable(path) == path


def test_what_cannot_be_printed_is_escaped_byte_by_byte() -> None:
    assert stored_path(os.fsdecode(b"a/caf\xe9.mp3")) == r"./a/caf\xe9.mp3"
    assert stored_path("a\\xe9\a") == r"./a\x5cxe9\x07"
    assert stored_path("a\\xe9") == "a\\xe9"
    assert printable(Path(os.fsdecode(b"/caf\xe9\xc2\x85"))) == r"/caf\xe9\xc2\x85"
    assert printable("\ud800") == r"\xed\xa0\x80"


def test_forms_of_unicode_are_one_and_cases_only_where_asked() -> None:
    assert composed("u\u0308nal") == composed("ünal") != composed("Ünal")
    assert folded("U\u0308nal") == folded("ünal")
    assert folded("\u01f0") == folded("J\u030c")
    # A diacritic that becomes a letter in capitals: only the full rule finds these alike.
    assert folded("\u1fb3") == folded("\u03b1\u0345") == folded("\u1fbc")


def test_sound_is_read_by_any_name(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    wave = np.full((1, 90), 0.25, np.float32)
    write_audio(tmp_path / "plain.wav", wave, 8000)
    (tmp_path / "plain.wav").rename(path)
    assert probe(path).frames == 90
    assert np.array_equal(read_window(path, 10, 20), wave[:, 10:30])

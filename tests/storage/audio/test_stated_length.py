"""Headers that state another length than their file has, either way."""

import struct
from pathlib import Path

import pytest

from storage.audio.stated_length import require_whole
from storage.errors import DecodeError
from tests.stem_archives import float_wave
from tests.synthesised import as_file, tune

CHUNKED = ["WAV", "RF64", "W64", "AIFF", "AU", "CAF"]


@pytest.mark.parametrize("kind", [*CHUNKED, "FLAC", "MP3"])
def test_whole_files_of_any_kind_pass(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(as_file(tune(0.2), kind=kind))
    require_whole(path, "a")


@pytest.mark.parametrize("kind", CHUNKED)
def test_cut_files_do_not(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    data = as_file(tune(0.2), kind=kind)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DecodeError, match=r"^a has .* bytes of a promised") as error:
        require_whole(path, "a")
    assert error.value.reason == "truncated"


def test_a_header_of_unknown_length_passes_and_a_short_file_does_not(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    wave = float_wave(tune(0.2))
    path.write_bytes(b"RIFF" + struct.pack("<I", 0xFFFF_FFFF) + wave[8:])
    require_whole(path, "a.wav")
    path.write_bytes(wave[:-1])
    require_whole(path, "a.wav")
    path.write_bytes(wave[:-16])
    with pytest.raises(DecodeError, match=r"a\.wav has .* of a promised") as error:
        require_whole(path, "a.wav")
    assert error.value.reason == "truncated"
    with pytest.raises(DecodeError, match="cannot be read"):
        require_whole(tmp_path / "b.wav", "b.wav")


def test_a_header_that_hides_sound_does_not_pass(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    wave = float_wave(tune(0.5))
    at = wave.index(b"data") + 4
    (size,) = struct.unpack("<I", wave[at : at + 4])
    path.write_bytes(wave[:at] + struct.pack("<I", size // 2 // 8 * 8) + wave[at + 4 :])
    with pytest.raises(DecodeError, match="bytes of sound, but its header states") as error:
        require_whole(path, "a.wav")
    assert error.value.reason == "length_mismatch"

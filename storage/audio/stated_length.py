"""Recordings that are read in place, by the sizes in their headers: those sizes must be true."""

from contextlib import closing
from pathlib import Path

from storage.audio.walks.chunks import SLACK_BYTES, find_sound, sound_bytes
from storage.audio.walks.parts import Bytes
from storage.errors import DecodeError


def require_whole(path: Path, name: str) -> None:
    """Refuse a WAV, RF64, W64, AIFF, AU or CAF whose header states another length than it has.

    libsndfile reads what is there, up to what is stated, without an error. `name` is what messages
    call it.

    Raises:
        DecodeError: it cannot be read (`unreadable`), is shorter than its header says
            (`truncated`), or has sound behind what its header says (`length_mismatch`).
    """
    try:
        size = path.stat().st_size
        if not size:
            return
        file = Bytes(path)
    except OSError as error:
        raise DecodeError(f"{name} cannot be read ({error.strerror})", "unreadable") from error
    with closing(file):
        sound = find_sound(file, 0)
        if sound is None or sound.claimed is None:
            return
        there, claimed = sound_bytes(file, sound), sound.claimed
    if there < claimed - SLACK_BYTES:
        raise DecodeError(
            f"{name} has {size} bytes of a promised {sound.start + claimed}", "truncated"
        )
    if there > claimed + SLACK_BYTES:
        raise DecodeError(
            f"{name} has {there} bytes of sound, but its header states {claimed}; export it again",
            "length_mismatch",
        )

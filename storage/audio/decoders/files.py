"""soundfile, which is fast, and trusted with files that a walk found nothing wrong in."""

import contextlib
import os
import threading
from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from storage.audio.decoders.pour import BLOCK_FRAMES, Attempt, Pour, Shape
from storage.audio.decoding import Begin, Form, Length, Source, Taker
from storage.audio.walks.parts import Survey
from storage.audio.waveforms import Waveform
from storage.names.spelling import library_path

SOUNDFILE = f"soundfile {soundfile.__version__}/libsndfile {soundfile.__libsndfile_version__}"
SLACK_FRAMES = 1152
"""Frames of an MP3 that may be missing before a second decoder is asked: some encoders count the
packet that holds the tag."""
WALKED = frozenset(("MP3", "FLAC", "OGG"))
"""Formats that it is not trusted with unless a walk said so."""
ENDLESS_FRAMES = 1 << 48
"""libsndfile states so many or more where it does not know."""


class Stream(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is read from its beginning to its end.

    soundfile seeks behind every block that it reads. In a mono MP3 that changes the last bits of
    what follows, so that the same file gave other bytes with another size of blocks.
    """

    def seekable(self) -> bool:
        """Return False: nothing seeks here."""
        return False


def by_soundfile(
    source: Source, begin: Begin[Taker], survey: Survey | None
) -> Attempt[Taker] | None:
    """Decode a file as it is; None where soundfile cannot open it, or no walk vouches for it."""
    with _hushed(), _opened(source.path) as stream:
        if stream is None or (survey is None and stream.format in WALKED):
            return None
        pour = Pour(source, begin, Form(stream.samplerate, stream.channels, SOUNDFILE))
        if pour.wanted:
            for block in blocks(stream):
                pour.take_at_once(block)
        else:
            pour.frames = survey.frames if survey and survey.frames else stream.frames
        if survey is None:
            return pour.attempt(Length(stream.frames, "estimated"))
        broken = not survey.plain and survey.promised.certainty == "exact"
        stated = survey.promised.frames if broken else 0
        there = max(stated, survey.frames) or (
            stream.frames if stream.frames < ENDLESS_FRAMES else 0
        )
        slack = SLACK_FRAMES if stream.format == "MP3" else 0
        missing = there - pour.frames if there - pour.frames > slack else 0
        certainty = survey.promised.certainty
        promised = Length(survey.promised.frames or there, certainty)
        if certainty == "unknown":
            promised = Length()
        return pour.attempt(promised, missing, survey.stray_bytes)


@contextlib.contextmanager
def _opened(file: Path | RawIOBase) -> Iterator[Stream | None]:
    try:
        stream = Stream(library_path(file) if isinstance(file, Path) else file)
    except soundfile.LibsndfileError:
        yield None
        return
    with stream:
        yield stream


def blocks(stream: Any) -> Iterator[Waveform]:
    """Yield [channels, frames] up to the end, or to damage; each is overwritten by the next."""
    buffer = np.empty((BLOCK_FRAMES, stream.channels), np.float32)
    while True:
        try:
            block: Waveform = stream.read(out=buffer).T
        except soundfile.LibsndfileError:
            return
        if not block.shape[1]:
            return
        yield block


@contextlib.contextmanager
def opened_quietly(file: RawIOBase) -> Iterator[Stream | None]:
    """Open what reads like a file; None where soundfile cannot."""
    with _hushed(), _opened(file) as stream:
        yield stream


def shape_of(stream: Stream) -> Shape:
    """Return rate and channels."""
    return Shape(stream.samplerate, stream.channels)


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep libmpg123 from writing its guesses to file descriptor 2.

    The descriptor belongs to the whole process: it is only lent while no other thread could want
    to complain through it.
    """
    if threading.active_count() > 1:
        yield
        return
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)

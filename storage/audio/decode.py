"""Whole songs of any format -> waveforms, block by block, every loss noticed, counted and placed.

A walk over a file's packets says what is there and what its header promises. Where it finds nothing
wrong soundfile decodes, which is fast; else FFmpeg's decoders are given the packets one by one, and
silence is put where one is missing or does not decode.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from storage.audio.decoders.containers import by_container
from storage.audio.decoders.files import by_soundfile
from storage.audio.decoders.parts import by_parts
from storage.audio.decoders.pour import Attempt
from storage.audio.decoding import Begin, Decoding, Source, Taker
from storage.audio.walks.parts import Bytes, Extract, Survey, Window
from storage.audio.walks.survey import search_file, survey_file
from storage.audio.waveforms import Waveform
from storage.errors import DecodeError

MAXIMUM_LOSS = 0.05
"""Share of a recording's frames that may be lost. A song that lost more than a twentieth is no
longer the recording that its title names: it is quarantined as `truncated`."""


class Decoded(NamedTuple):
    """A decoded song."""

    waveform: Waveform
    """float32 [channels, frames], full scale at ±1; MP3s overshoot it."""
    facts: Decoding

    @property
    def sample_rate(self) -> int:
        """Of the file, in Hz."""
        return self.facts.sample_rate


def decode(data: bytes, name: str, limit_seconds: float) -> Decoded:
    """Decode a whole file into memory; `name` is what messages call it.

    Raises:
        DecodeError: as `decode_into`.
    """
    descriptor = os.memfd_create("song")
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        path = Path(f"/proc/self/fd/{descriptor}")
        facts, sink = decode_into(path, name, limit_seconds, lambda _: _Memory())
    assert sink
    return Decoded(np.concatenate(sink.blocks, axis=1), facts)


def decode_into(
    path: Path,
    name: str,
    limit_seconds: float,
    begin: Begin[Taker],
    maximum_loss: float = MAXIMUM_LOSS,
) -> tuple[Decoding, Taker | None]:
    """Decode a file block by block; return what became of it, and the sink that took it.

    `begin` is called when rate and channels are known, and returns what takes the blocks, or None
    if they are not wanted. It is called again where a file turns out to be damaged and is decoded a
    second time: the sink returned is that of the better decoding, and the other is to be forgotten.

    `name` is what messages call it, `maximum_loss` the share of its frames that may be lost.

    Raises:
        DecodeError: with a `reason`: `empty`, `not_audio`, `zero_frames`, `truncated` (more than
            `maximum_loss` is lost), `nan`, `too_long` (more than `limit_seconds`). Its `facts` are
            what was decoded, and its `sink` is what took that.
    """
    size = path.stat().st_size
    if not size:
        raise DecodeError(f"{name} is empty; fetch it again, or leave it out", "empty")
    source = Source(path, name, limit_seconds)
    with closing(Bytes(path)) as file:
        best: Attempt[Taker] | None = None
        for attempt in _attempts(source, begin, file):
            best = _better(best, attempt)
            if best and not best.decoding.frames_lost and _sounding(best):
                break
    if best is None:
        raise DecodeError(
            f"{name} ({size} bytes) is no audio that soundfile or FFmpeg knows", "not_audio"
        )
    _require_whole(best, name, maximum_loss)
    return best.decoding, best.sink


class _Memory:
    def __init__(self) -> None:
        self.blocks: list[Waveform] = []

    def take(self, block: Waveform) -> None:
        self.blocks.append(block.copy())


def _attempts(source: Source, begin: Begin[Taker], file: Bytes) -> Iterator[Attempt[Taker] | None]:
    """Yield decodings, the fastest first, for as long as none is without loss."""
    survey = survey_file(file)
    if survey is None:
        yield (
            by_soundfile(source, begin, None)
            or by_container(source, begin, source.path)
            or ((deeper := search_file(file)) and by_parts(source, begin, deeper))
        )
        return
    if survey.plain:
        yield by_soundfile(source, begin, survey)
    attempt = by_parts(source, begin, survey)
    yield attempt
    if attempt is None:
        yield by_soundfile(source, begin, survey) or _by_container(source, begin, survey)


def _by_container(source: Source, begin: Begin[Taker], survey: Survey) -> Attempt[Taker] | None:
    """Let FFmpeg open what soundfile cannot, such as MP3 in WAV, with a corrected header."""
    first = survey.parts[0]
    if survey.plain or not isinstance(first, Extract):
        return by_container(source, begin, source.path)
    with Window(source.path, first) as window:
        return by_container(source, begin, window)


def _sounding(attempt: Attempt[Taker]) -> int:
    """Return the frames that were decoded."""
    return attempt.decoding.frames - attempt.decoding.frames_filled


def _better(first: Attempt[Taker] | None, second: Attempt[Taker] | None) -> Attempt[Taker] | None:
    """Return the decoding with more sound in it, bad packets counted."""
    if first is None or second is None:
        return first or second
    if _sounding(second) >= _sounding(first):
        return second
    errors = second.decoding.decode_errors
    return first._replace(decoding=first.decoding._replace(decode_errors=errors))


def _require_whole(best: Attempt[Taker], name: str, maximum_loss: float) -> None:
    decoding = best.decoding
    sounding = _sounding(best)
    if sounding == 0 and not decoding.frames_lost:
        raise DecodeError(
            f"{name} opens as audio but holds no frame of it", "zero_frames", decoding, best.sink
        )
    whole = decoding.frames + decoding.frames_missing
    if decoding.frames_lost > maximum_loss * whole:
        rate = decoding.sample_rate
        promised = "a promised" if decoding.promised.certainty == "exact" else "about"
        raise DecodeError(
            f"{name} is damaged: {sounding / rate:.1f} s of {promised} {whole / rate:.1f} s decode "
            f"({decoding.decode_errors} bad packets); fetch it again, or leave it out",
            "truncated",
            decoding,
            best.sink,
        )

"""Whole songs of any format -> waveforms, block by block, every loss noticed, counted and named.

Two decoders, because the fast one cannot be trusted: on a damaged MP3 soundfile stops early without
an error.
So what it decodes is compared with what the file promises, and where the two differ, or where the
promise is only an estimate, FFmpeg decodes packet by packet, skipping and counting the bad ones.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from storage.audio.decoders import Attempt, Begin, Decoding, Source, Taker, by_packets, by_soundfile
from storage.audio.waveforms import Waveform
from storage.errors import DecodeError

MAXIMUM_LOSS = 0.05
"""Share of the promised frames that may be missing. A song that lost more than a twentieth is no
longer the recording that its title names: it is quarantined as `truncated`."""
SLACK_FRAMES = 1152
"""Frames that may be missing before a second decoder is asked: one MPEG frame, since some
encoders count the one that holds the tag."""


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
    path: Path, name: str, limit_seconds: float, begin: Begin[Taker]
) -> tuple[Decoding, Taker | None]:
    """Decode a file block by block; return what became of it, and the sink that took it.

    `begin` is called when rate and channels are known, and returns what takes the blocks, or None
    if they are not wanted. It is called again where a damaged file is decoded a second time: the
    sink returned is that of the longer decoding, and the other is to be forgotten.

    Raises:
        DecodeError: with a `reason`: `empty`, `not_audio`, `zero_frames`, `truncated` (more than
            `MAXIMUM_LOSS` is missing), `nan`, `too_long` (more than `limit_seconds`).
    """
    size = path.stat().st_size
    if not size:
        raise DecodeError(f"{name} is empty; fetch it again, or leave it out", "empty")
    source = Source(path, name, limit_seconds)
    attempt = by_soundfile(source, begin)
    if attempt is None or attempt.decoding.frames_lost > SLACK_FRAMES:
        promised = attempt.decoding.frames_promised if attempt else 0
        attempt = _better(attempt, by_packets(source, begin, promised))
    if attempt is None:
        raise DecodeError(
            f"{name} ({size} bytes) is no audio that soundfile or FFmpeg knows", "not_audio"
        )
    _require_whole(attempt.decoding, name)
    return attempt.decoding, attempt.sink


class _Memory:
    def __init__(self) -> None:
        self.blocks: list[Waveform] = []

    def take(self, block: Waveform) -> None:
        self.blocks.append(block.copy())


def _better(
    first: Attempt[Taker] | None, by_packets: Attempt[Taker] | None
) -> Attempt[Taker] | None:
    """Return the longer of two decodings of the same bytes, with the bad packets counted."""
    if first is None or by_packets is None:
        return first or by_packets
    if by_packets.decoding.frames >= first.decoding.frames:
        return by_packets
    errors = by_packets.decoding.decode_errors
    return first._replace(decoding=first.decoding._replace(decode_errors=errors))


def _require_whole(decoding: Decoding, name: str) -> None:
    if decoding.frames == 0:
        raise DecodeError(f"{name} opens as audio but holds no frame of it", "zero_frames")
    if decoding.frames_lost > MAXIMUM_LOSS * decoding.frames_promised:
        promised = decoding.frames_promised / decoding.sample_rate
        raise DecodeError(
            f"{name} is damaged: {decoding.seconds:.1f} s of a promised {promised:.1f} s decode "
            f"({decoding.decode_errors} bad packets); fetch it again, or leave it out",
            "truncated",
        )

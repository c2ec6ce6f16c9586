"""Why a decoded track is left out on purpose: predicates, each with one named reason.

A filtered track is decided, never retried; damage is another matter (`storage.decode`).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pipelines.clips import Clip
from pipelines.config import FmaConfig
from storage.decode import Decoded


class Rejection(NamedTuple):
    """Why a track is left out."""

    reason: str
    """The ledger's short name."""
    detail: str
    """The measured value behind it."""


Filter = Callable[[Decoded, FmaConfig], Rejection | None]


def rate_below(song: Decoded, config: FmaConfig) -> Rejection | None:
    """Reject what was sampled below the corpus's rate: its treble is gone for good."""
    rate = config.filters.sample_rate
    if song.sample_rate >= rate:
        return None
    return Rejection(f"rate_below_{rate}", f"{song.sample_rate} Hz")


def mono(song: Decoded, config: FmaConfig) -> Rejection | None:
    """Reject single channels, where the configuration says so."""
    if song.channels > 1 or config.filters.mono == "duplicate":
        return None
    return Rejection("mono", "1 channel")


def too_short(song: Decoded, config: FmaConfig) -> Rejection | None:
    """Reject what is shorter than one whole clip."""
    if song.frames >= config.clips.seconds * song.sample_rate:
        return None
    return Rejection("too_short", f"{song.seconds:.2f} s of {config.clips.seconds}")


FILTERS: tuple[Filter, ...] = (rate_below, mono, too_short)


def judge(song: Decoded, config: FmaConfig) -> Rejection | None:
    """Return the first reason to leave a decoded track out, or None."""
    return next(filter(None, (applies(song, config) for applies in FILTERS)), None)


def silent(clips: Sequence[Clip], kept: Sequence[Clip]) -> Rejection | None:
    """Reject a track of which no clip survives the silence rule."""
    if kept:
        return None
    loudest = max(max(clip.power_db) for clip in clips)
    return Rejection("silent", f"none of {len(clips)} clips; loudest second {loudest:.1f} dBFS")

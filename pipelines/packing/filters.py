"""Why a track is left out on purpose: predicates, each with one named reason.

A filtered track is a decision and is never retried; damage is a failure (`storage.audio.decode`).
Each filter runs as soon as what it judges is known: the plan, the file's form, its decoded length,
what was measured of its sound.

To add a filter, write its function and add its name to `PLANNED`, `OPENED`, `DECODED` or
`MEASURED`; nothing else changes. A setting that it needs is a field of `FilterConfig`, or of
`MeasureLimits` if it judges what is measured, listed in its `NEUTRAL` if the default keeps every
track.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

from pipelines.config import FmaConfig
from pipelines.licences import allows
from pipelines.packing.clips import Cutter
from storage.audio.decoding import Decoding, Form
from storage.records import Measured, Track

Known = TypeVar("Known")
Measures = Mapping[str, Measured]
"""Figures of a whole track by name; one that is undefined rejects nothing."""


class Rejection(NamedTuple):
    """Why a track is left out."""

    reason: str
    """The ledger's short name."""
    detail: str
    """The measured value behind it."""


def licence(track: Track, config: FmaConfig) -> Rejection | None:
    """Reject what is not licensed as the configuration allows."""
    allowed = config.filters.licences
    if not allowed or allows(allowed, track.licence):
        return None
    return Rejection("licence", track.licence or "none stated")


def duplicate(track: Track, config: FmaConfig) -> Rejection | None:
    """Reject the bytes of another track, even of one that is itself left out."""
    if not track.duplicate_of or config.filters.duplicates == "keep":
        return None
    return Rejection("duplicate", f"the bytes of track {track.duplicate_of}")


def rate_below(song: Form, config: FmaConfig) -> Rejection | None:
    """Reject what was sampled below the corpus's rate: its treble cannot be restored."""
    rate = config.filters.sample_rate
    if song.sample_rate >= rate:
        return None
    return Rejection(f"rate_below_{rate}", f"{song.sample_rate} Hz")


def mono(song: Form, config: FmaConfig) -> Rejection | None:
    """Reject single channels, where the configuration or the authors' rule says so."""
    rules = (config.filters.mono, config.filters.silence)
    if song.channels > 1 or rules == ("duplicate", "paper"):
        return None
    return Rejection("mono", "1 channel")


def too_short(song: Decoding, config: FmaConfig) -> Rejection | None:
    """Reject what is shorter than one whole clip."""
    if song.frames >= config.clips.seconds * song.sample_rate:
        return None
    return Rejection("too_short", f"{song.seconds:.2f} s of {config.clips.seconds}")


def bandwidth(found: Measures, config: FmaConfig) -> Rejection | None:
    """Reject what holds no high frequencies, whatever rate its file states."""
    return _below("bandwidth", found.get("bandwidth_hz"), config.filters.min_bandwidth_hz, " Hz")


def correlation(found: Measures, config: FmaConfig) -> Rejection | None:
    """Reject mono that is stored as stereo, and what is close to it."""
    return _above("correlation", found.get("correlation"), config.filters.max_correlation)


def clipped(found: Measures, config: FmaConfig) -> Rejection | None:
    """Reject what was recorded or mastered into full scale."""
    return _above("clipped", found.get("clipped_share"), config.filters.max_clipped_share)


def loudness(found: Measures, config: FmaConfig) -> Rejection | None:
    """Reject what is too soft as a whole."""
    loud = found.get("loudness_lufs")
    return _below("loudness", loud, config.filters.min_loudness_lufs, " LUFS")


def zeros(found: Measures, config: FmaConfig) -> Rejection | None:
    """Reject what begins or ends in long digital silence."""
    ends = [found.get(f"{end}_zeros_seconds") or 0.0 for end in ("leading", "trailing")]
    return _above("zeros", max(ends), config.filters.max_zeros_seconds, " s")


Filters = tuple[Callable[[Known, FmaConfig], Rejection | None], ...]

PLANNED: Filters[Track] = (licence, duplicate)
OPENED: Filters[Form] = (rate_below, mono)
DECODED: Filters[Decoding] = (too_short,)
MEASURED: Filters[Measures] = (bandwidth, correlation, clipped, loudness, zeros)


def judge(filters: Filters[Known], known: Known, config: FmaConfig) -> Rejection | None:
    """Return the first reason to leave a track out, or None."""
    return first(applies(known, config) for applies in filters)


def first(rejections: Iterable[Rejection | None]) -> Rejection | None:
    """Return the first that is one."""
    return next(filter(None, rejections), None)


def silent(cutter: Cutter) -> Rejection:
    """Say why no clip of a track survived the silence rule."""
    return Rejection("silent", cutter.silence())


def _below(what: str, value: Measured, least: float | None, unit: str = "") -> Rejection | None:
    if value is None or least is None or value >= least:
        return None
    return Rejection(f"{what}_below_{least:g}", f"{value:g}{unit}")


def _above(what: str, value: Measured, most: float | None, unit: str = "") -> Rejection | None:
    if value is None or most is None or value <= most:
        return None
    return Rejection(f"{what}_above_{most:g}", f"{value:g}{unit}")

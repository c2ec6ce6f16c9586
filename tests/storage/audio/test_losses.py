"""Cut anywhere, overwritten anywhere: what is kept, filled and missing adds up."""

from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from storage.audio.decode import decode
from storage.audio.decoding import Decoding
from storage.errors import DecodeError
from tests.storage.audio.marked import by_ffmpeg, overwritten, recording

FORMS = ("mp3", "mp3 untagged", "adts", "flac", "wav")
SHORT = 3
"""Seconds."""
PACKET = {"mp3": 1152, "mp3 untagged": 1152, "adts": 1024, "flac": 4608, "wav": 1}
"""Frames."""


@cache
def whole(form: str) -> int:
    return decode(recording(form, 0, SHORT), "song", 60.0).facts.frames


def facts_of(data: bytes) -> Decoding | None:
    """Return what was measured, refused or not; None where not one frame is left."""
    try:
        return decode(data, "song", 60.0).facts
    except DecodeError as error:
        assert isinstance(error.facts, Decoding) or error.facts is None
        return error.facts


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(FORMS), st.floats(0.1, 0.99))
def test_cut_anywhere(form: str, share: float) -> None:
    data = recording(form, 0, SHORT)
    cut = data[: round(len(data) * share)]
    facts = facts_of(cut)
    if facts is None:
        assert by_ffmpeg(cut).shape[1] == 0
        return
    sounding = facts.frames - facts.frames_filled
    assert abs(sounding - by_ffmpeg(cut).shape[1]) <= 2 * PACKET[form]
    if facts.promised.certainty == "exact":
        assert abs(facts.frames + facts.frames_missing - whole(form)) <= PACKET[form]
    else:
        assert facts.frames_missing <= PACKET[form]


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(("mp3", "mp3 untagged", "flac")),
    st.floats(0.1, 0.7),
    st.floats(0.001, 0.2),
    st.integers(0, 9),
)
def test_overwritten_anywhere(form: str, at: float, share: float, seed: int) -> None:
    facts = facts_of(overwritten(recording(form, 0, SHORT), share, at, seed))
    assert facts is not None
    assert abs(facts.frames + facts.frames_missing - whole(form)) <= 2 * PACKET[form]
    assert all(
        b.start >= a.start + a.frames for a, b in zip(facts.holes, facts.holes[1:], strict=False)
    )
    assert facts.frames_lost < (share + 0.15) * whole(form) + 3 * PACKET[form]

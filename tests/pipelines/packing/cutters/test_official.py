"""The authors' rule for silence, against a plain transcription of it on whole arrays."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.config import ClipConfig, FilterConfig, FmaConfig
from pipelines.packing.clips import Clip, Cutter
from pipelines.packing.cutters.official import OfficialCutter, cutter_of, silent_parts
from storage.errors import ConfigError
from tests.synthesised import Sound

LOW = 100
"""Hz: a rate at which the rule can be tried on minutes of sound."""


def by_the_authors(sound: Sound, seconds: int, hop: int) -> list[int] | None:
    """Return the first frame of every segment of a song; None if the song is dropped."""
    length, shift, total = seconds * LOW, hop * LOW, sound.shape[1]
    starts = []
    for start in range(0, total, shift):
        segment = sound[:, start : start + length].astype(np.float64)
        size = segment.shape[1] // 20
        energies = [np.sum(segment[:, i * size : (i + 1) * size] ** 2) for i in range(20)]
        if not segment.any() or sum(energy == 0 for energy in energies) >= 10:
            return None
        starts.append(max(0, start if start + length <= total else total - length))
    return starts


def cut(
    sound: Sound, clips: ClipConfig | None = None, size: int = 777
) -> tuple[OfficialCutter, list[Clip]]:
    cutter = OfficialCutter(LOW, clips or ClipConfig(), FilterConfig(silence="official"))
    blocks = (sound[:, start : start + size] for start in range(0, sound.shape[1], size))
    made = [clip for block in blocks for clip in cutter.take(block)]
    return cutter, [*made, *cutter.rest()]


def sound_of(clip: Clip) -> Sound:
    return np.concatenate([piece.sound for piece in clip.pieces], axis=1)


def noise(frames: int, seed: int = 0) -> Sound:
    """Nothing of it is zero."""
    rng = np.random.default_rng(seed)
    magnitudes = rng.uniform(0.1, 1, (2, frames)).astype(np.float32)
    return np.where(rng.random((2, frames)) < 0.5, magnitudes, -magnitudes)


@settings(max_examples=150, deadline=None)
@given(
    frames=st.integers(0, 45 * LOW),
    gaps=st.lists(st.tuples(st.integers(0, 45 * LOW), st.integers(0, 11 * LOW)), max_size=2),
    tail=st.integers(0, 6 * LOW),
    seconds=st.integers(1, 12),
    hop=st.integers(1, 14),
    size=st.integers(1, 5000),
)
@example(30 * LOW, [], 0, 10, 5, 777)
@example(30 * LOW + 7, [], 0, 10, 5, 777)
@example(30 * LOW + 80, [], 80, 10, 5, 777)
@example(30 * LOW + 80, [], 39, 10, 5, 777)
@example(30 * LOW + 80, [], 41, 10, 5, 777)
@example(33 * LOW + 1, [(500, 549)], 0, 10, 5, 999)
def test_it_is_the_authors_rule(
    frames: int, gaps: list[tuple[int, int]], tail: int, seconds: int, hop: int, size: int
) -> None:
    sound = noise(frames, seed=frames)
    for start, length in gaps:
        sound[:, start : start + length] = 0
    sound[:, max(0, frames - tail) :] = 0
    cutter, clips = cut(sound, ClipConfig(seconds=seconds, hop_seconds=hop), size)
    if frames < seconds * LOW:
        assert not clips, "a track that is too short is filtered for that"
        return
    expected = by_the_authors(sound, seconds, hop)
    assert cutter.lost == (expected is None)
    # A lost track has as many segments, too: none of them is kept.
    assert [clip.number for clip in clips] == list(range(-(-frames // (hop * LOW))))
    assert cutter.clips == len(clips)
    if expected is None:
        assert "digital silence" in cutter.silence()
        return
    assert all(clip.kept for clip in clips)
    assert [round(clip.start_seconds * LOW) for clip in clips] == expected
    for clip, start in zip(clips, expected, strict=True):
        assert clip.start_seconds == start / LOW
        assert isinstance(clip.start_seconds, int) == (start % LOW == 0)
        assert len(clip.power_db) == seconds
        np.testing.assert_array_equal(sound_of(clip), sound[:, start : start + seconds * LOW])


@pytest.mark.parametrize(
    ("seconds", "starts"),
    [
        (10.0, [0, 0]),
        (14.0, [0, 4, 4]),
        (15.0, [0, 5, 5]),
        (16.0, [0, 5, 6, 6]),
        (30.0, [0, 5, 10, 15, 20, 20]),
        (30.8, [0, 5, 10, 15, 20, 20.8, 20.8]),
    ],
)
def test_the_last_segments_end_with_the_track(seconds: float, starts: list[float]) -> None:
    _, clips = cut(noise(round(seconds * LOW)))
    assert [clip.start_seconds for clip in clips] == starts


def test_a_tail_of_digital_silence_drops_the_track() -> None:
    sound = noise(4580)
    sound[:, 4500:] = 0
    cutter, _ = cut(sound)
    assert cutter.lost
    assert cutter.silence() == "20 of 20 parts of the 0.8 s from 45 s on are digital silence"
    sound[1, 4540:4580] = 1e-9
    assert cut(sound)[0].lost, "half of the tail is silent"
    sound[1, 4539] = 1e-9
    assert not cut(sound)[0].lost


@pytest.mark.parametrize(("frames", "lost"), [(1, True), (19, True), (20, False)])
def test_a_tail_of_less_than_twenty_samples_drops_the_track(frames: int, lost: bool) -> None:
    assert cut(noise(15 * LOW + frames))[0].lost == lost


def test_what_twenty_does_not_divide_is_ignored() -> None:
    sound = noise(39)
    sound[:, :20] = 0
    assert silent_parts(sound) == 20
    sound[0, 10] = 1
    assert silent_parts(sound) == 19
    assert silent_parts(sound[:, 20:]) == 20, "parts of no length"


def test_nothing_grows_with_the_track() -> None:
    cutter = OfficialCutter(LOW, ClipConfig(), FilterConfig(silence="official"))
    minute, held = noise(60 * LOW), set()
    for _ in range(5):
        assert [clip.kept for clip in cutter.take(minute)]
        held.add(sum(piece.sound.shape[1] for piece in cutter._window))
    assert held == {10 * LOW}


def test_the_rule_is_the_configurations() -> None:
    assert type(cutter_of(FmaConfig())) is Cutter
    official = FmaConfig(filters=FilterConfig(silence="official"))
    assert type(cutter_of(official)) is OfficialCutter
    with pytest.raises(ConfigError, match=r"set shards\.storage=clips, or filters"):
        official.override(["shards.storage=segments"])

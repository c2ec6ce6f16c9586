"""The table of clips against plain lists of what the sidecars say."""

import hashlib
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import ManifestError
from storage.records import ShardInfo
from storage.shards.clip_table import Clip, ClipTable, Extent
from storage.shards.writer import BLOCK, Sidecar

SPLITS = ("training", "test")


class Shard(NamedTuple):
    """A shard as an index lists it, and its sidecar."""

    info: ShardInfo
    sidecar: Sidecar

    def table(self, samples_per_clip: int) -> ClipTable:
        return table([self], samples_per_clip)


def shard(number: int, end: int | None = None, **columns: Any) -> Shard:
    """Return a shard that has `end` bytes, by default as many as its samples reach."""
    sidecar = Sidecar(**columns)
    data = sidecar.model_dump_json().encode()
    last = sidecar.offsets[-1] + sidecar.sizes[-1] if sidecar.offsets else 0
    info = ShardInfo(
        name=f"{number:04d}-00.tar", bytes=last if end is None else end, sha256="",
        clips=len(sidecar.clips), samples=len(sidecar.offsets), sidecar_bytes=len(data),
        sidecar_sha256=hashlib.sha256(data).hexdigest(),
    )  # fmt: skip
    return Shard(info, sidecar)


def table(shards: list[Shard], samples_per_clip: int) -> ClipTable:
    stored = {one.info.name: one.sidecar.model_dump_json().encode() for one in shards}
    return ClipTable([one.info for one in shards], samples_per_clip, lambda it: stored[it.name])


@st.composite
def shards(draw: st.DrawFn, samples_per_clip: int) -> list[Shard]:
    """Return shards of no clip or more, whose tracks may go on in the next."""
    found = []
    for number in range(draw(st.integers(1, 4))):
        sizes = draw(st.lists(st.integers(1, 3 * BLOCK), max_size=5))
        offsets, offset = [], BLOCK
        for size in sizes:
            offsets.append(offset)
            offset += BLOCK * (-(-size // BLOCK) + draw(st.integers(0, 2)))
        starts = range(len(sizes) - samples_per_clip + 1)
        firsts = draw(st.lists(st.sampled_from(starts), max_size=6)) if starts else []
        tracks = draw(st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True))
        found.append(
            shard(
                number, offsets=offsets, sizes=sizes, firsts=firsts,
                crcs=draw(st.lists(st.integers(0, 2**32 - 1), min_size=len(sizes),
                                   max_size=len(sizes))),
                clips=[f"s{number}_c{clip}" for clip in range(len(firsts))],
                of_tracks=[draw(st.integers(0, len(tracks) - 1)) for _ in firsts],
                tracks=[f"{track:06d}" for track in tracks],
                splits=[SPLITS[track % 2] for track in tracks],
            )
        )  # fmt: skip
    return found


@settings(max_examples=40, deadline=None)
@given(data=st.data(), samples_per_clip=st.integers(1, 3))
def test_every_clip_is_where_its_sidecar_says(data: st.DataObject, samples_per_clip: int) -> None:
    made = data.draw(shards(samples_per_clip))
    clips = table(made, samples_per_clip)
    expected = [
        (place, one, number) for place, one in enumerate(made) for number in range(one.info.clips)
    ]
    assert len(clips) == len(expected)
    for clip, (place, (info, sidecar), number) in enumerate(expected):
        track = sidecar.of_tracks[number]
        name = sidecar.tracks[track]
        assert clips.shard_of(clip) == place
        assert clips.clip(clip) == Clip(
            sidecar.clips[number], name, sidecar.splits[track], info.name
        )
        assert clips.track_names[clips.tracks[clip]] == name
        begin = data.draw(st.integers(0, samples_per_clip - 1))
        own = range(sidecar.firsts[number] + begin, sidecar.firsts[number] + samples_per_clip)
        assert clips.samples(clip, begin, samples_per_clip) == [
            Extent(sidecar.offsets[one], sidecar.sizes[one], sidecar.crcs[one]) for one in own
        ]


TWO: dict[str, Any] = {
    "offsets": [512, 2048], "sizes": [600, 700], "crcs": [1, 2], "clips": ["a", "b"],
    "firsts": [0, 0], "of_tracks": [0, 0], "tracks": ["000001"], "splits": ["training"],
}  # fmt: skip


def test_sound_may_end_with_its_shard_but_not_behind_it() -> None:
    assert len(shard(0, 2748, **TWO).table(2)) == 2
    with pytest.raises(ManifestError, match=r"0000-00\.tar speaks of sound beyond"):
        shard(0, 2747, **TWO).table(2)


def test_any_clip_may_end_with_the_last_sample_but_none_behind_it() -> None:
    """Whichever clip it is: the one that reaches furthest decides, not the first or the last."""
    for firsts in ([0, 1], [1, 0]):
        made = shard(0, **(TWO | {"firsts": firsts}))
        assert len(made.table(1)) == 2
        with pytest.raises(ManifestError, match=r"beyond the shard's 2 samples"):
            made.table(2)


def test_a_shard_of_samples_alone_has_no_clips() -> None:
    alone = shard(0, **(TWO | {"clips": [], "firsts": [], "of_tracks": []}))
    assert len(alone.table(2)) == 0
    empty = shard(1, None, **{name: [] for name in TWO})
    assert len(table([empty, alone, empty, shard(2, **TWO)], 1)) == 2

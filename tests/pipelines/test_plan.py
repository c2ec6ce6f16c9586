"""Plans: every track once, the same for the same seed, frozen."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.config import FmaConfig
from pipelines.plan import make_plan, read_plan, shuffled, write_plan
from storage.errors import DataError, ManifestError
from storage.layout import Corpus
from storage.records import Track


def tracks(count: int) -> list[Track]:
    return [Track(id=f"{n:06d}", member=f"{n}.mp3", bytes=n, crc=n) for n in range(count)]


@settings(max_examples=50, deadline=None)
@given(count=st.integers(1, 200), size=st.integers(1, 64), seed=st.integers(0, 5))
def test_every_track_is_in_one_unit(count: int, size: int, seed: int) -> None:
    plan = make_plan(tracks(count), FmaConfig(unit_tracks=size, seed=seed))
    ids = [track.id for unit in plan.units for track in unit.tracks]
    assert sorted(ids) == [track.id for track in tracks(count)]
    sizes = [len(unit.tracks) for unit in plan.units]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    assert plan.tracks == count


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(tracks(20)))
def test_the_order_of_the_archive_does_not_matter(order: Sequence[Track]) -> None:
    config = FmaConfig(unit_tracks=6)
    assert make_plan(order, config) == make_plan(tracks(20), config)


def test_the_order_is_pinned() -> None:
    names = [f"{number:06d}" for number in range(8)]
    assert [int(name) for name in shuffled(names, 0)] == [2, 7, 0, 6, 4, 5, 3, 1]
    assert [int(name) for name in shuffled(names, 1)] == [0, 2, 5, 6, 3, 4, 7, 1]


def test_plans_round_trip(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path)
    plan = make_plan(tracks(10), FmaConfig(unit_tracks=3))
    write_plan(corpus, plan)
    assert read_plan(corpus) == plan
    assert read_plan(corpus).digest() == plan.digest()
    assert [unit.id for unit in plan.units] == ["0000", "0001", "0002", "0003"]


def test_what_is_no_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got 0"):
        make_plan([], FmaConfig())
    with pytest.raises(DataError, match=r"repeated: \['000001'\]"):
        make_plan([*tracks(3), tracks(2)[1]], FmaConfig())
    corpus = Corpus(tmp_path)
    with pytest.raises(ManifestError, match=r"plan\.json is missing"):
        read_plan(corpus)
    corpus.plan.write_text('{"seed": 0}')
    with pytest.raises(ManifestError, match=r"plan\.json is no plan"):
        read_plan(corpus)

"""Plans: every track once, the same for the same seed, frozen; read no further than is needed."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.config import FmaConfig
from pipelines.tracks.plan import (
    StoredPlan,
    make_plan,
    read_outline,
    read_units,
    shuffled,
    unit_digest,
    write_plan,
)
from storage.errors import DataError, IntegrityError, ManifestError
from storage.home.layout import Corpus
from storage.records import Track


def tracks(count: int) -> list[Track]:
    return [
        Track(id=f"{n:06d}", member=f"{n}.mp3", bytes=n, crc=n, title="\u2028é" * (n % 3))
        for n in range(count)
    ]


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
    outline = write_plan(corpus, plan)
    assert read_outline(corpus) == outline
    assert plan.digest() == outline.digest() == StoredPlan(corpus, outline).digest()
    assert plan.tracks == outline.tracks == StoredPlan(corpus, outline).tracks == 10
    assert [unit.id for unit in plan.units] == ["0000", "0001", "0002", "0003"]
    assert [unit.digest for unit in outline.units] == [unit_digest(unit) for unit in plan.units]
    assert sum(unit.bytes for unit in outline.units) == sum(track.bytes for track in tracks(10))
    assert list(StoredPlan(corpus, outline).each()) == list(plan.each())


def test_units_are_as_large_as_what_is_read_of_the_archive(tmp_path: Path) -> None:
    """The packed size where it is known, else the file's."""
    known = [Track(id=f"{n}", member="m", bytes=100, packed_bytes=n) for n in (60, 70)]
    plain = Track(id="plain", member="m", bytes=5)
    outline = write_plan(Corpus(tmp_path), make_plan([*known, plain], FmaConfig()))
    assert [unit.bytes for unit in outline.units] == [60 + 70 + 5]


def test_the_same_plan_is_the_same_file(tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        corpus = Corpus(tmp_path / name)
        write_plan(corpus, make_plan(tracks(10)[::-1], FmaConfig(unit_tracks=3)))
        files.append((corpus.plan.read_bytes(), corpus.units.read_bytes()))
    assert files[0] == files[1]


@settings(max_examples=20, deadline=None)
@given(chosen=st.lists(st.integers(0, 6), unique=True))
def test_only_the_units_wanted_are_read(
    tmp_path_factory: pytest.TempPathFactory, chosen: list[int]
) -> None:
    corpus = Corpus(tmp_path_factory.mktemp("plan"))
    plan = make_plan(tracks(20), FmaConfig(unit_tracks=3))
    outline = write_plan(corpus, plan)
    # Whatever lies outside the lines of the units wanted may be anything.
    data = bytearray(len(corpus.units.read_bytes()))
    wanted = [outline.units[number] for number in chosen]
    for unit in wanted:
        line = slice(unit.start, unit.start + unit.length)
        data[line] = corpus.units.read_bytes()[line]
    corpus.units.write_bytes(data)
    assert list(read_units(corpus, wanted)) == [plan.units[number] for number in chosen]


def test_the_digest_knows_seed_size_and_every_track() -> None:
    def digest(count: int = 10, size: int = 3, seed: int = 0) -> str:
        return make_plan(tracks(count), FmaConfig(unit_tracks=size, seed=seed)).digest()

    # One unit holds them all in the last two: only the size that was asked for differs.
    given = [digest(), digest(count=11), digest(size=4), digest(seed=1), digest(size=10)]
    assert len({*given, digest(size=11)}) == 6
    assert digest() == given[0]


def test_what_is_no_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got 0"):
        make_plan([], FmaConfig())
    with pytest.raises(DataError, match=r"repeated: \['000001'\]"):
        make_plan([*tracks(3), tracks(2)[1]], FmaConfig())
    corpus = Corpus(tmp_path)
    with pytest.raises(ManifestError, match=r"plan\.json is missing"):
        read_outline(corpus)
    corpus.plan.write_text('{"seed": 0}')
    with pytest.raises(ManifestError, match=r"plan\.json is no plan"):
        read_outline(corpus)


def test_tracks_that_are_not_the_plan_s_are_refused(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path)
    outline = write_plan(corpus, make_plan(tracks(10), FmaConfig(unit_tracks=3)))
    whole = corpus.units.read_bytes()
    corpus.units.write_bytes(whole.replace(b'"split":"training"', b'"split":"test"    ', 1))
    with pytest.raises(IntegrityError, match=r"unit 0000 in .* is not the one that plan\.json"):
        list(StoredPlan(corpus, outline).each())
    corpus.units.write_bytes(whole[:-40])
    with pytest.raises(ManifestError, match="holds no unit 0003 at byte"):
        list(read_units(corpus, outline.units[3:]))
    corpus.units.unlink()
    with pytest.raises(ManifestError, match=r"units\.jsonl is missing"):
        list(StoredPlan(corpus, outline).each())

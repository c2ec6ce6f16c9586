"""Every path lies under its home, apart from every other, and is spelled so that homes can move."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from storage.home.layout import Corpus, Home, shard_offsets

NAME = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,12}", fullmatch=True)


def every_path(home: Home, name: str, key: str) -> list[Path]:
    """Return one path of each kind."""
    corpora = [home.corpus(kind, key) for kind in ("fma", "musdb", "activity")]
    paths = [home.study(name), home.archives, home.marks, home.mark(name, key), home.runs]
    paths += [home.lock(name), home.run(name, key), home.report(name)]
    for corpus in corpora:
        paths += [corpus.root, corpus.plan, corpus.index, corpus.census, corpus.songs]
        paths += [corpus.activity, corpus.shards, corpus.ledger(name)]
        paths += [corpus.shard(name, 0), shard_offsets(corpus.shard(name, 0))]
    return paths


@given(NAME, NAME)
def test_every_path_is_inside_and_apart(name: str, key: str) -> None:
    home = Home(Path("/somewhere/home"))
    paths = every_path(home, name, key)
    assert len(set(paths)) == len(paths)
    assert all(home.holds(path) and path != home.root for path in paths)


@given(st.lists(NAME, min_size=1, max_size=4))
def test_a_path_is_found_again_in_a_moved_home(parts: list[str]) -> None:
    old, new = Home(Path("/old/home")), Home(Path("/new/place"))
    inside = old.root.joinpath(*parts)
    assert new.path(old.relative(inside)) == new.root.joinpath(*parts)
    outside = Path("/elsewhere").joinpath(*parts)
    assert not old.holds(outside)
    assert new.path(old.relative(outside)) == outside
    beside = Path("/old/home2").joinpath(*parts)
    assert old.path(old.relative(beside)) == beside, "a common beginning is not a common folder"


@given(st.integers(0, 99), st.integers(0, 99))
def test_shards_sort_as_they_count(first: int, second: int) -> None:
    corpus = Corpus(Path("corpus"))
    names = [corpus.shard("0003", number).name for number in (first, second)]
    assert (names[0] < names[1]) == (first < second)
    assert shard_offsets(corpus.shard("0003", 0)).name == "0003-00.idx.json"

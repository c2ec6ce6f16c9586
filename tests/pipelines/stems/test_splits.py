"""Splits drawn from artists: near their shares, disjoint, alike however the songs are listed."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.stems.splits import Split, split_by_artist

SHARES: dict[Split, float] = {"test": 0.1, "validation": 0.1}
LIBRARIES = st.dictionaries(
    st.integers(0, 10**6).map(str), st.sampled_from("abcdefghijklmnopqrstuvwxyzæé"), max_size=120
)


@given(LIBRARIES, st.integers(0, 5), st.randoms())
def test_artists_are_in_one_split_and_the_order_of_songs_is_nothing(
    artists: dict[str, str], seed: int, random: object
) -> None:
    splits = split_by_artist(artists, SHARES, seed)
    assert splits.keys() == artists.keys()
    for artist in set(artists.values()):
        assert len({splits[song] for song in artists if artists[song] == artist}) == 1
    turned = dict(reversed(artists.items()))
    assert split_by_artist(turned, SHARES, seed) == splits
    if len(set(artists.values())) >= 3:
        assert set(splits.values()) == {"train", "test", "validation"}
    elif artists:
        assert "train" in splits.values()


def test_shares_are_met() -> None:
    artists = {f"song {number}": f"artist {number % 45}" for number in range(240)}
    for seed in range(20):
        splits = list(split_by_artist(artists, SHARES, seed).values())
        assert all(21 <= splits.count(split) <= 27 for split in ("test", "validation"))


def test_a_seed_draws_others_and_a_share_of_nothing_none() -> None:
    artists = {f"song {number}": f"artist {number}" for number in range(50)}
    assert split_by_artist(artists, SHARES, 0) != split_by_artist(artists, SHARES, 1)
    assert set(split_by_artist(artists, {"test": 0.0}, 0).values()) == {"train"}


def test_an_artist_is_one_whatever_the_case_and_nobody_is_no_artist() -> None:
    same = {"1": "Ünal", "2": "ünal ", "3": "ÜNAL", "4": "Bo"}
    splits = split_by_artist(same, {"test": 0.75}, 0)
    assert splits["1"] == splits["2"] == splits["3"] != splits["4"]
    forms = {"1": "U\u0308nal", "2": "Ünal", "3": "ünal", "4": "Bo"}
    assert split_by_artist(forms, {"test": 0.75}, 0) == splits
    nameless = {str(number): " " for number in range(10)}
    assert list(split_by_artist(nameless, {"test": 0.3}, 0).values()).count("test") == 3


@given(LIBRARIES, st.floats(0, 0.49), st.floats(0, 0.49))
def test_something_is_left_to_train_on(artists: dict[str, str], test: float, other: float) -> None:
    splits = split_by_artist(artists, {"test": test, "validation": other}, 0)
    assert "train" in splits.values() or not artists

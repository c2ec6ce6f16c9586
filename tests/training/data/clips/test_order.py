"""Orders of an epoch: never two clips of one track, every clip once, the same for everyone."""

from collections import Counter
from itertools import chain

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.data.clips.order import ClipOrder, EpochOrder, ShardOrder, pair_up

TRACKS = st.lists(st.integers(0, 5), min_size=2, max_size=60).filter(lambda x: len(set(x)) > 1)


@given(TRACKS, st.integers(0, 5))
def test_pairs_are_never_of_one_track_and_use_every_clip_where_that_can_be(
    tracks: list[int], seed: int
) -> None:
    array = np.asarray(tracks)
    pairs = pair_up(np.arange(len(array)), array, np.random.default_rng(seed))
    assert pairs.shape == (len(tracks) // 2, 2)
    assert (array[pairs[:, 0]] != array[pairs[:, 1]]).all()
    if max(Counter(tracks).values()) <= len(tracks) // 2:
        assert len(np.unique(pairs)) == 2 * len(pairs)


@given(st.integers(2, 300), st.integers(0, 300), st.integers(0, 3))
def test_one_track_may_hold_almost_everything(most: int, rest: int, seed: int) -> None:
    tracks = np.array([0] * most + [1 + n % 3 for n in range(rest + 1)])
    pairs = pair_up(np.arange(len(tracks)), tracks, np.random.default_rng(seed))
    assert (tracks[pairs[:, 0]] != tracks[pairs[:, 1]]).all()
    if most <= len(tracks) // 2:
        assert len(np.unique(pairs)) == 2 * len(pairs)


def test_a_pool_of_one_track_borrows_from_beyond() -> None:
    tracks = np.array([0, 0, 0, 0, 1, 2])
    pairs = pair_up(np.arange(4), tracks, np.random.default_rng(0))
    assert (tracks[pairs[:, 0]] == 0).all()
    assert (tracks[pairs[:, 1]] != 0).all()


def test_partners_are_drawn_evenly() -> None:
    tracks = np.repeat(np.arange(4), 2)
    seen = Counter(
        frozenset(pair)
        for seed in range(2000)
        for pair in pair_up(np.arange(8), tracks, np.random.default_rng(seed)).tolist()
    )
    allowed = 8 * 6 // 2
    assert len(seen) == allowed
    expected = 2000 * 4 / allowed
    assert all(abs(count - expected) < 0.25 * expected for count in seen.values())


@st.composite
def corpora(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Draw the track and the shard of each clip: shards of some tracks each, none held by one."""
    tracks, shards = [], []
    for shard in range(draw(st.integers(1, 7))):
        for clip in range(draw(st.integers(1, 9))):
            tracks.append(10 * shard + clip % draw(st.integers(2, 5)))
            shards.append(3 * shard)
    tracks += [1000, 1001]
    return np.array(tracks), np.array([*shards, 100, 100])


def epoch_of(order: EpochOrder, length: int, epoch: int) -> list[tuple[int, int]]:
    return [order.pair(epoch, position) for position in range(length)]


@given(corpora(), st.integers(1, 9), st.integers(0, 3))
def test_groups_of_shards_are_whole_and_in_turn(
    corpus: tuple[np.ndarray, np.ndarray], at_once: int, epoch: int
) -> None:
    tracks, shards = corpus
    order = ShardOrder(tracks, shards, at_once, seed=3)
    length = len(tracks) // 2
    pairs = epoch_of(order, length, epoch)
    assert all(tracks[first] != tracks[second] for first, second in pairs)
    groups = [order.group(epoch, position) for position in range(length)]
    assert groups == sorted(groups)
    dealt = [order.shards(epoch, group) for group in range(-(-len(set(shards)) // at_once))]
    assert sorted(chain(*dealt)) == sorted(set(shards.tolist()))
    assert max(map(len, dealt)) <= at_once
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1
    assert order.shards(epoch, len(dealt)) == order.shards(epoch + 1, 0)


@given(st.integers(1, 9), st.integers(0, 3), st.integers(4, 31))
def test_an_epoch_by_shards_uses_every_clip_once_and_few_shards_at_a_time(
    at_once: int, epoch: int, each: int
) -> None:
    # Odd and even shards, four tracks in each.
    shards = np.repeat(np.arange(9), each)
    tracks = shards * 4 + np.arange(len(shards)) % 4
    order = ShardOrder(tracks, shards, at_once, seed=3)
    length = len(tracks) // 2
    pairs = epoch_of(order, length, epoch)
    assert all(tracks[first] != tracks[second] for first, second in pairs)
    assert len({clip for pair in pairs for clip in pair}) == 2 * length
    for position, pair in enumerate(pairs):
        group = order.group(epoch, position)
        allowed = set(order.shards(epoch, group))
        handed_on = set(order.shards(epoch, group - 1)) if group else set()
        assert {int(shards[clip]) for clip in pair} <= allowed | handed_on
    beyond = Counter(
        order.group(epoch, position)
        for position, pair in enumerate(pairs)
        for clip in pair
        if int(shards[clip]) not in order.shards(epoch, order.group(epoch, position))
    )
    assert all(count == 1 for count in beyond.values())


@given(st.integers(0, 5), st.integers(0, 400))
def test_an_order_needs_no_past(epoch: int, position: int) -> None:
    shards = np.repeat(np.arange(9), 31)
    tracks = np.arange(len(shards)) // 7
    position %= len(tracks) // 2
    for make in (
        lambda: ClipOrder(tracks, shards, 5),
        lambda: ShardOrder(tracks, shards, 2, 5),
    ):
        used: EpochOrder = make()
        for earlier in range(0, position, 11):
            used.pair(0, earlier)
        assert used.pair(epoch, position) == make().pair(epoch, position)


def test_epochs_deal_shards_anew() -> None:
    shards = np.repeat(np.arange(12), 10)
    tracks = np.arange(len(shards)) // 3
    order = ShardOrder(tracks, shards, 3, 0)
    dealt = {
        tuple(map(tuple, [order.shards(epoch, group) for group in range(4)])) for epoch in range(5)
    }
    assert len(dealt) == 5


def test_an_order_of_all_shards_has_one_group() -> None:
    shards = np.repeat([3, 1, 4], 5)
    order = ClipOrder(np.arange(15), shards, 0)
    assert {order.group(epoch, position) for epoch in (0, 3) for position in range(7)} == {0}
    assert order.shards(0, 0) == order.shards(3, 0) == [3, 1, 4]

"""Credits: no artist in two splits, one track in eight held out, nothing named twice."""

from itertools import islice

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.synthesis.catalogue import artist_names, draw_credits


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 200), seed=st.integers(0, 1000))
def test_splits_share_no_artist(count: int, seed: int) -> None:
    credit = draw_credits(count, np.random.default_rng(seed))
    assert len(credit) == count
    by_split = {
        split: {one.artist for one in credit if one.split == split}
        for split in ("training", "validation")
    }
    assert not by_split["training"] & by_split["validation"]
    held_out = sum(one.split == "validation" for one in credit)
    assert (count == 1) == (held_out == 0)
    assert held_out <= max(1, round(count / 8)) + 2
    assert held_out < count or count == 1
    assert len({one.title for one in credit}) == count


def test_names_do_not_repeat() -> None:
    names = list(islice(artist_names(np.random.default_rng(0)), 3000))
    assert len(set(names)) == 3000

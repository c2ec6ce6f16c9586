"""In which order an epoch goes through the clips: a pure function of seed and epoch.

Nothing is kept between two calls but what could be computed again, so a run that resumes in the
middle of an epoch, or on another number of processes, sees what it would have seen.
"""

import threading
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from training import seeds

Numbers = npt.NDArray[np.integer]
TRIES = 32
"""Pairs drawn to trade with before all are searched. Unless one track holds most clips, a draw
that fits is soon found, and searching for each would take an epoch of millions hours."""


class EpochOrder(Protocol):
    """Pairs of clips of different tracks, by epoch and position in it."""

    def pair(self, epoch: int, position: int) -> tuple[int, int]:
        """Return the numbers of two clips."""
        ...

    def group(self, epoch: int, position: int) -> int:
        """Return which of the epoch's groups of shards a position belongs to."""
        ...

    def shards(self, epoch: int, group: int) -> list[int]:
        """Return the shards of a group; one past an epoch's last is the next epoch's first."""
        ...


class ClipOrder:
    """One permutation of all clips, cut into pairs. All shards are one group."""

    def __init__(self, tracks: Numbers, shards: Numbers, seed: int) -> None:
        """Take each clip's track and shard, [clips] each; clips of one shard are neighbours."""
        self._tracks, self._seed = tracks, seed
        self._shards: list[int] = shards[_firsts(shards)].tolist()
        self._epoch = lru_cache(maxsize=2)(self._pairs_of_epoch)
        self._one = threading.Lock()

    def pair(self, epoch: int, position: int) -> tuple[int, int]:
        """Return the numbers of two clips."""
        # Threads that need a new epoch at once would each work it out.
        with self._one:
            first, second = self._epoch(epoch)[position].tolist()
        return first, second

    def group(self, epoch: int, position: int) -> int:
        """Return 0."""
        return 0

    def shards(self, epoch: int, group: int) -> list[int]:
        """Return all shards."""
        return self._shards

    def _pairs_of_epoch(self, epoch: int) -> Numbers:
        clips = np.arange(len(self._tracks), dtype=np.uint32)
        return pair_up(clips, self._tracks, seeds.generator(self._seed, "epoch", epoch))


class _Layout(NamedTuple):
    """How the shards of an epoch are dealt."""

    groups: list[list[int]]
    """Places in the list of shards."""
    starts: list[int]
    """Clips before each group, and of all."""


class ShardOrder:
    """Shards are permuted and dealt into groups; clips are permuted and paired within a group.

    Every clip of the epoch is used as in `ClipOrder`, at most one left over: a group of an odd
    number hands one clip on to the next. So an epoch's length never changes.
    """

    def __init__(self, tracks: Numbers, shards: Numbers, at_once: int, seed: int) -> None:
        """Take each clip's track and shard, [clips] each, and the shards of a group.

        Clips of one shard are neighbours.
        """
        self._tracks, self._at_once, self._seed = tracks, at_once, seed
        starts = _firsts(shards)
        self._shards: list[int] = shards[starts].tolist()
        self._bounds: list[int] = [*starts.tolist(), len(tracks)]
        self._epoch = lru_cache(maxsize=3)(self._layout_of_epoch)
        self._group = lru_cache(maxsize=3)(self._pairs_of_group)
        self._one = threading.Lock()

    def pair(self, epoch: int, position: int) -> tuple[int, int]:
        """Return the numbers of two clips."""
        with self._one:
            group, start = self._locate(epoch, position)
            first, second = self._group(epoch, group)[position - start].tolist()
        return first, second

    def group(self, epoch: int, position: int) -> int:
        """Return which of the epoch's groups of shards a position belongs to."""
        return self._locate(epoch, position)[0]

    def shards(self, epoch: int, group: int) -> list[int]:
        """Return the shards of a group; one past an epoch's last is the next epoch's first."""
        groups = self._epoch(epoch).groups
        if group == len(groups):
            groups, group = self._epoch(epoch + 1).groups, 0
        return [self._shards[index] for index in groups[group]]

    def _locate(self, epoch: int, position: int) -> tuple[int, int]:
        """Return the group of a position, and the group's first position."""
        starts = self._epoch(epoch).starts
        # Pair p holds the clips 2p and 2p + 1 of the epoch, and belongs where the latter does.
        group = bisect_right(starts, 2 * position + 1) - 1
        return group, starts[group] // 2

    def _layout_of_epoch(self, epoch: int) -> _Layout:
        order = seeds.generator(self._seed, "shards", epoch).permutation(len(self._shards))
        count = -(-len(order) // self._at_once)
        groups = [part.tolist() for part in np.array_split(order, count)]
        sizes = [sum(map(self._size, group)) for group in groups]
        return _Layout(groups, [0, *accumulate(sizes)])

    def _size(self, index: int) -> int:
        return self._bounds[index + 1] - self._bounds[index]

    def _clips_of_group(self, epoch: int, group: int) -> Numbers:
        """Return a group's own clips, permuted."""
        indices = self._epoch(epoch).groups[group]
        bounds = list(pairwise(self._bounds))
        own = np.concatenate([np.arange(*bounds[index], dtype=np.uint32) for index in indices])
        draw = seeds.generator(self._seed, "group", epoch, group)
        clips: Numbers = draw.permutation(own)
        return clips

    def _pairs_of_group(self, epoch: int, group: int) -> Numbers:
        begin, end = self._epoch(epoch).starts[group : group + 2]
        clips = self._clips_of_group(epoch, group)
        if end % 2:
            clips = clips[:-1]
        if begin % 2:
            clips = np.append(clips, self._clips_of_group(epoch, group - 1)[-1])
        return pair_up(clips, self._tracks, seeds.generator(self._seed, "pairs", epoch, group))


def pair_up(clips: Numbers, tracks: Numbers, draw: np.random.Generator) -> Numbers:
    """Pair clips at random, never two of one track.

    Two pairs trade partners where chance put one track together. Where one track holds most
    clips, a clip without a partner borrows one from another pair, or from beyond `clips`, so the
    number of pairs is fixed. Otherwise every clip is used once, one left over of an odd number.

    Args:
        clips: [n], numbers of clips.
        tracks: the track of each clip by the clip's number; at least two differ.
        draw: where chance comes from.

    Returns:
        [n // 2, 2] clip numbers.
    """
    count = len(clips) // 2
    pairs: Numbers = draw.permutation(clips)[: 2 * count].reshape(count, 2)
    trade = _Trade(pairs, tracks, draw)
    alike = np.flatnonzero(tracks[pairs[:, 0]] == tracks[pairs[:, 1]])
    # Track by track, so that nothing but its own trades changes which pairs lack a track.
    for row in alike[np.argsort(tracks[pairs[alike, 0]], kind="stable")].tolist():
        ours = int(tracks[pairs[row, 0]])
        if tracks[pairs[row, 1]] != ours:
            continue
        other = trade.partner(ours)
        if other is None:
            pairs[row, 1] = trade.borrowed(ours, clips)
        else:
            pairs[[row, other], 1] = pairs[[other, row], 1]
    return pairs


class _Trade:
    """Finds pairs without a given track; such a pair can trade either way."""

    def __init__(self, pairs: Numbers, tracks: Numbers, draw: np.random.Generator) -> None:
        self._pairs, self._tracks, self._draw = pairs, tracks, draw
        self._fitting: dict[int, list[int]] = {}
        self._others: dict[int, Numbers] = {}

    def partner(self, ours: int) -> int | None:
        """Return a pair without the track `ours`; None if there is none."""
        if ours not in self._fitting:
            drawn: list[int] = self._draw.integers(len(self._pairs), size=TRIES).tolist()
            for row in drawn:
                if self._fits(row, ours):
                    return row
            without = (self._tracks[self._pairs] != ours).all(axis=1)
            self._fitting[ours] = self._draw.permutation(np.flatnonzero(without)).tolist()
        rows = self._fitting[ours]
        while rows:
            row = rows.pop()
            if self._fits(row, ours):
                return row
        return None

    def borrowed(self, ours: int, clips: Numbers) -> int:
        """Return a clip of another track, from `clips` if one of these is."""
        if ours not in self._others:
            others = clips[self._tracks[clips] != ours]
            self._others[ours] = others if len(others) else np.flatnonzero(self._tracks != ours)
        return int(self._draw.choice(self._others[ours]))

    def _fits(self, row: int, ours: int) -> bool:
        first, second = self._pairs[row].tolist()
        return bool(self._tracks[first] != ours and self._tracks[second] != ours)


def _firsts(shards: Numbers) -> Numbers:
    """Return where each run of equal numbers begins."""
    return np.append(0, 1 + np.flatnonzero(shards[1:] != shards[:-1]))

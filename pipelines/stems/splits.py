"""Which songs train, validate and test, where no split is published: whole artists are taken."""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Literal

from storage.errors import DataError
from storage.names.spelling import composed

Split = Literal["train", "validation", "test"]


def split_by_artist(
    artists: Mapping[str, str], shares: Mapping[Split, float], seed: int
) -> dict[str, Split]:
    """Return the split of each song, given each song's artist.

    Artists, in an order that `seed` decides, are given to a split while each brings its number of
    songs nearer to its share; a split with a share gets an artist even so. At least one is left to
    `train`. No artist is in two splits, whatever the case and the form of Unicode of their name.
    """
    named = {
        song: composed(artist.strip()).casefold() or f"song {song}"
        for song, artist in artists.items()
    }
    songs_of = Counter(named.values())
    order = sorted(songs_of, key=lambda artist: _drawn(seed, artist))
    given: dict[str, Split] = {}
    for split, share in shares.items():
        free = [artist for artist in order if artist not in given]
        target, taken = share * len(named), 0
        for artist in free:
            # Half of a larger number would lie beyond the target, half of this one does not.
            last = len(given) + 1 == len(order)
            if songs_of[artist] <= 2 * (target - taken) and not last:
                given[artist] = split
                taken += songs_of[artist]
        if target and not taken and len(free) > 1:
            given[min(free, key=lambda artist: songs_of[artist])] = split
    return {song: given.get(artist, "train") for song, artist in named.items()}


def _drawn(seed: int, artist: str) -> bytes:
    # A folder's name may be bytes that are no text.
    return hashlib.sha256(f"{seed} {artist}".encode("utf-8", "surrogatepass")).digest()


def require_validation(where: object, splits: Collection[Split], remedy: str) -> None:
    """Refuse songs that train where none validates: training would, hours later.

    Raises:
        DataError: that is so; `remedy` says what to do.
    """
    if "train" in splits and "validation" not in splits:
        raise DataError(
            f"none of the {len(splits)} songs in {where} is in the validation split, without "
            f"which nothing can be trained: {remedy}"
        )

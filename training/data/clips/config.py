"""The settings of clips from shards."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from training.data.settings import DataSettings, References


class ClipsData(DataSettings):
    """Clips from shards, added in pairs to mixtures of mixtures (MoM)."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"cache", "cache_gb"})
    REFERENCES: ClassVar[References] = "mixtures"

    kind: Literal["clips"] = "clips"
    batch_size: PositiveInt = 128
    """MoMs per step over all processes (so twice as many clips)."""
    segment_seconds: PositiveFloat = 6.0
    """Length of the random crop taken of each 10 s clip."""
    gain_db: NonNegativeFloat = 5.0
    """The power ratio of the two mixtures is uniform in ±gain_db. Not in the paper; in the code."""
    validation_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of tracks held out when the archive names no validation split."""
    order: Literal["clips", "shards"] = "clips"
    """How an epoch is shuffled. `clips`: one permutation of all clips. `shards`: shards are
    permuted and dealt into groups, and clips are permuted within a group only, for corpora in a
    bucket that are larger than `cache_gb`."""
    shards_at_once: PositiveInt = 16
    """Shards of a group. The cache holds two groups: the one in use and the next."""
    cache: str = ""
    """Folder of shards fetched from a bucket; empty takes one in the home's scratch folder."""
    cache_gb: NonNegativeFloat = 100.0
    """Gigabytes that the cache may hold; 0 reads every clip from the bucket."""

    @property
    def references(self) -> int:
        """References P: the two mixtures."""
        return 2

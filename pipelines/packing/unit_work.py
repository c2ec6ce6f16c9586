"""The work of packing a unit: its request and its key. Looking it up loads no decoder."""

from dataclasses import dataclass
from pathlib import Path

from pipelines.archives.sources import Source
from pipelines.config import FmaConfig
from pipelines.tracks.plan import Outline, Plan, PlannedUnit, unit_digest
from pipelines.workers.disk_room import DiskRoom
from pipelines.workers.work_pool import Turn, WorkPool
from storage.config import Json, digest_of
from storage.home.layout import Corpus
from storage.home.marks import Mark, Work
from storage.records import Unit

STAGE = "pack"
LEDGER = "ledger"
SHARD = "shard-"
"""Labels of a mark's outputs; shards are counted from 0000."""
VERSION = 4
"""Raise it when the same input would give other bytes."""
WRITTEN_PER_BYTE = {
    ("clips", "flac"): 6.9,
    ("clips", "wav"): 10.9,
    ("segments", "flac"): 3.6,
    ("segments", "wav"): 5.5,
}
"""Bytes of shards for a byte of MP3, at the FMA's mean of 263 kbit/s, half of each clip shared."""
LOSSLESS = {".wav": 0.19, ".aif": 0.19, ".aiff": 0.19, ".flac": 0.3}
"""Shares of these for files at 1411 kbit/s, or at about 900 once compressed without loss."""
COPIES = 2
"""Of a unit's samples while it is packed: staged until it is whole, and in its shards."""


@dataclass(frozen=True)
class PackRequest:
    """Everything that packing one unit takes, on whatever machine."""

    home: str
    """What `Home.open` takes."""
    corpus: str
    """The corpus's folder, whose name is its `corpus_key`, as the home's marks spell it."""
    source: Source
    unit: Unit
    config: FmaConfig

    @property
    def size(self) -> int:
        """Bytes of its tracks, as the archive stores them."""
        return sum(track.packed_bytes or track.bytes for track in self.unit.tracks)

    def room(self, folder: Path) -> DiskRoom:
        """Return the room on the disk of a folder that it is packed in."""
        reserve = round(self.config.disk_reserve_gb * 1e9)
        return DiskRoom(folder, reserve, "fma.disk_reserve_gb", f"packing unit {self.unit.id}")

    @property
    def expected_bytes(self) -> int:
        """About how many bytes its shards will have."""
        shards = self.config.shards
        sound = sum(
            (track.packed_bytes or track.bytes)
            * LOSSLESS.get(Path(track.member).suffix.lower(), 1.0)
            for track in self.unit.tracks
        )
        return round(sound * WRITTEN_PER_BYTE[shards.storage, shards.codec])

    @property
    def work(self) -> Work:
        """The piece of work that this is."""
        return unit_work(self.unit, self.config, Corpus(Path(self.corpus)))


PackingPool = WorkPool[PackRequest, Mark]
"""Packing threads of this machine."""
PackingTurn = Turn[PackRequest, Mark]
"""A caller that may bring units to a pool."""


def corpus_key(plan: Plan | Outline, config: FmaConfig) -> str:
    """Return the name of the corpus that a plan and the settings that shape its bytes make."""
    return digest_of([VERSION, plan.digest(), _what_shapes(config)])[:16]


def unit_work(unit: Unit | PlannedUnit, config: FmaConfig, corpus: Corpus) -> Work:
    """Return the piece of work that packing a unit into a corpus is.

    The corpus is part of it: two plans can share a unit, but each corpus holds its own shards.
    """
    digest = unit.digest if isinstance(unit, PlannedUnit) else unit_digest(unit)
    inputs = {"corpus": corpus.root.name, "unit": digest}
    return Work(STAGE, VERSION, _what_shapes(config), inputs)


def _what_shapes(config: FmaConfig) -> Json:
    matters = config.what_matters()
    names = ("filters", "clips", "shards", "track_seconds", "seed", "measures")
    return {name: matters[name] for name in names if name in matters}

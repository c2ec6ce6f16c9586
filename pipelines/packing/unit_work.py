"""The work of packing a unit: its request and its key. Looking it up loads no decoder."""

from dataclasses import dataclass
from pathlib import Path

from pipelines.archives.sources import Source
from pipelines.config import FmaConfig
from pipelines.tracks.plan import Outline, Plan, PlannedUnit, unit_digest
from storage.config import Json, digest_of
from storage.home.layout import Corpus
from storage.home.marks import Work
from storage.records import Unit

STAGE = "pack"
LEDGER = "ledger"
SHARD = "shard-"
"""Labels of a mark's outputs; shards are counted from 0000."""
VERSION = 4
"""Raise it when the same input would give other bytes."""


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
    def work(self) -> Work:
        """The piece of work that this is."""
        return unit_work(self.unit, self.config, Corpus(Path(self.corpus)))


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

"""A corpus being packed, as the tests of packing see it."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from pipelines.config import FmaConfig
from pipelines.fma import read_tracks
from pipelines.pack import PackRequest, corpus_key, pack_units
from pipelines.plan import Plan, make_plan, write_plan
from storage.layout import Corpus, Home
from storage.manifests import read_rows
from storage.marks import Mark
from storage.records import LedgerRow
from tests.synthesised import Archives

CONFIG = FmaConfig(archive="fma_tiny.zip", unit_tracks=3)


class Study(NamedTuple):
    home: Home
    corpus: Corpus
    plan: Plan
    config: FmaConfig
    archive: Path

    @property
    def requests(self) -> list[PackRequest]:
        return [
            PackRequest(self.home.root, self.corpus.root, self.archive, unit, self.config)
            for unit in self.plan.units
        ]

    def pack(self, workers: int = 1) -> list[Mark]:
        return pack_units(self.requests, workers)

    def rows(self) -> dict[str, LedgerRow]:
        ledgers = (read_rows(self.corpus.ledger(u.id), LedgerRow) for u in self.plan.units)
        return {row.track: row for rows in ledgers for row in rows}


def begin(root: Path, archives: Archives, config: FmaConfig = CONFIG) -> Study:
    plan = make_plan(read_tracks(*archives), config)
    home = Home(root)
    corpus = home.corpus("fma", corpus_key(plan, config))
    write_plan(corpus, plan)
    return Study(home, corpus, plan, config, archives.archive)


def contents(corpus: Corpus) -> dict[str, str]:
    """sha256 of every file of a corpus."""
    return {
        path.relative_to(corpus.root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(corpus.root.rglob("*"))
        if path.is_file()
    }

"""A corpus being packed, as the tests of packing see it."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pipelines.archives.sources import Source
from pipelines.config import FmaConfig
from pipelines.packing.census import take_census
from pipelines.packing.pack import ProcessTrack, pack_units
from pipelines.packing.process_track import process_track
from pipelines.packing.unit_work import PackRequest, corpus_key
from pipelines.tracks.fma import read_tracks
from pipelines.tracks.plan import Plan, make_plan, write_plan
from storage.home.layout import Corpus, Home
from storage.home.marks import Mark
from storage.manifests import read_rows
from storage.records import LedgerRow
from storage.shards.reader import ShardReader
from tests.synthesised import Archives

CONFIG = FmaConfig(archive="fma_tiny.zip", unit_tracks=3)
ONE_EACH = CONFIG.override(["unit_tracks=1"])


class Study(NamedTuple):
    home: Home
    corpus: Corpus
    plan: Plan
    config: FmaConfig
    archive: Path

    @property
    def requests(self) -> list[PackRequest]:
        return self.requests_of(source_of(self.archive))

    def requests_of(self, source: Source) -> list[PackRequest]:
        corpus = self.home.relative(self.corpus.root)
        return [
            PackRequest(self.home.url, corpus, source, unit, self.config)
            for unit in self.plan.units
        ]

    def pack(self, workers: int = 1, process: ProcessTrack = process_track) -> list[Mark]:
        return pack_units(self.requests, workers, process=process)

    def reader(self, marks: list[Mark]) -> ShardReader:
        take_census(self.corpus, self.plan, marks, self.config)
        return ShardReader(self.corpus.index)

    def rows(self) -> dict[str, LedgerRow]:
        ledgers = (read_rows(self.corpus.ledger(u.id), LedgerRow) for u in self.plan.units)
        return {row.track: row for rows in ledgers for row in rows}


def source_of(archive: Path) -> Source:
    return Source(location=str(archive), bytes=archive.stat().st_size)


def begin(root: Path, archives: Archives, config: FmaConfig = CONFIG) -> Study:
    plan = make_plan(read_tracks(*archives), config)
    home = Home(root)
    corpus = home.corpus("fma", corpus_key(plan, config))
    write_plan(corpus, plan)
    return Study(home, corpus, plan, config, archives.archive)


def misplaced(request: PackRequest) -> PackRequest:
    """Return a request whose one track lies elsewhere in the archive than planned: it fails."""
    wrong = request.unit.tracks[0].model_copy(update={"bytes": 7, "packed_bytes": 7, "offset": 1})
    unit = request.unit.model_copy(update={"tracks": (wrong,)})
    return replace(request, unit=unit)


def contents(corpus: Corpus) -> dict[str, str]:
    """sha256 of every file of a corpus."""
    return {
        path.relative_to(corpus.root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(corpus.root.rglob("*"))
        if path.is_file()
    }

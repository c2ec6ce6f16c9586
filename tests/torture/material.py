"""What is packed under torture, and by whom: archives, orders to packers, what they leave."""

import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pipelines.archives.sources import Source
from pipelines.config import FilterConfig, FmaConfig, ShardConfig
from pipelines.packing.unit_work import PackRequest, corpus_key, unit_work
from pipelines.tracks.fma import read_tracks
from pipelines.tracks.plan import Plan, make_plan
from storage.home.layout import Corpus, Home
from storage.home.marks import Mark, lookup_all
from storage.home.open import open_home
from tests.pipelines.packing.corpora import source_of
from tests.synthesised import Archives, as_file, holed, tune, write_fma

UNIT_TRACKS = 2
Form = Literal["clips", "segments"]


class Packing(NamedTuple):
    """One corpus to be packed into one home, as packers and who watches them agree on it."""

    home: Home
    corpus: Corpus
    plan: Plan
    config: FmaConfig
    source: Source
    archives: Archives

    @property
    def requests(self) -> list[PackRequest]:
        """Every unit."""
        corpus = self.home.relative(self.corpus.root)
        return [
            PackRequest(self.home.url, corpus, self.source, unit, self.config)
            for unit in self.plan.units
        ]

    def order(self) -> str:
        """Return what `tests.torture.packer` is told."""
        return json.dumps(
            {
                "home": self.home.url,
                "archives": [str(path) for path in self.archives],
                "source": self.source.model_dump(mode="json"),
                "config": self.config.model_dump(mode="json"),
            }
        )

    def done(self) -> dict[str, Mark]:
        """Return the marks that stand, by their units' ids."""
        works = [unit_work(unit, self.config, self.corpus) for unit in self.plan.units]
        found = lookup_all(self.home, works)
        pairs = zip(self.plan.units, found, strict=True)
        return {unit.id: one.mark for unit, one in pairs if one.mark}

    def left(self) -> dict[str, str]:
        """Return the sha256 of all that the corpus holds at rest, by its name in it."""
        store, folder = self.home.store, self.home.relative(self.corpus.root)
        return {
            name.removeprefix(folder): hashlib.sha256(store.read(name)).hexdigest()
            for name in sorted(store.listing(folder))
        }

    def remains(self) -> list[str]:
        """Return what no one will ever finish: files half written or half fetched."""
        return [str(path) for path in self.home.root.rglob(".*.arriving")]


def packing(
    url: str, archives: Archives, config: FmaConfig, source: Source | None = None
) -> Packing:
    """Return a corpus to be packed into the home at `url`; nothing is written yet."""
    plan = make_plan(read_tracks(*archives), config)
    home = open_home(url)
    corpus = home.corpus("fma", corpus_key(plan, config))
    return Packing(home, corpus, plan, config, source or source_of(archives.archive), archives)


def from_order(text: str) -> Packing:
    """Return what `Packing.order` told."""
    told: dict[str, Any] = json.loads(text)
    archives = Archives(*map(Path, told["archives"]))
    config, source = FmaConfig(**told["config"]), Source(**told["source"])
    return packing(told["home"], archives, config, source)


def config_of(form: Form, **others: Any) -> FmaConfig:
    """Return small units, two workers; duplicates are packed, for there are few sounds."""
    return FmaConfig(
        unit_tracks=UNIT_TRACKS,
        workers=2,
        filters=FilterConfig(duplicates="keep"),
        shards=ShardConfig(storage=form, max_bytes=1_500_000),
        **others,
    )


def small_archive(folder: Path, units: int, seed: int) -> Archives:
    """Write an archive of `units` units: mostly good songs, some short, broken or empty."""
    chance = random.Random(seed)
    sounds = _sounds()
    songs = {}
    for number in range(units * UNIT_TRACKS):
        # A few bytes behind the last frame tell tracks of one sound apart.
        songs[f"{number + 2:06d}"] = chance.choice(sounds) + chance.randbytes(5)
    return write_fma(folder, songs)


def _sounds() -> Sequence[bytes]:
    good = as_file(tune(16.0))
    return [
        good,
        as_file(tune(11.0, 440.0, 48_000), 48_000),
        as_file(tune(13.0, 550.0, channels=1)),
        holed(good, 900),
        good[: len(good) // 3],
        as_file(tune(6.0)),
        b"",
    ]

"""The data stages and their builders: archives in, shards and stem manifests out.

Builders import what they build with: a command that only looks stages up starts sooner.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from flows.stage_id import Role
from flows.stages.archives import TRACKS, counter
from flows.stages.stage import Built, Inputs, Site, Stage, Watch
from flows.stages.units import Units
from pipelines.config import ActivityConfig, FmaConfig, MusdbConfig
from pipelines.synthesis.config import SynthesisConfig
from storage.config import Json
from storage.home import marks
from storage.home.layout import ATTRIBUTION, Corpus, Home
from storage.manifests import read_rows
from storage.records import LedgerRow, StemSong, Track
from storage.tally import Tally

if TYPE_CHECKING:
    from pipelines.archives.sources import Source


def _synthesise(site: Site, config: SynthesisConfig, inputs: Inputs) -> Built:
    from pipelines.synthesis.corpora import synthesise

    folder = site.home.archives / site.key
    corpora = synthesise(config, folder, lambda done, total: site.watch(done, total, "songs"))
    paths = (corpora.fma, corpora.fma_metadata, corpora.musdb)
    size = sum(path.stat().st_size for path in paths)
    return Built({path.name: path for path in paths}, {"bytes": size})


def _plan(site: Site, config: FmaConfig, inputs: Inputs) -> Built:
    from pipelines.archives.sources import Source
    from pipelines.tracks.fma import read_tracks
    from pipelines.tracks.plan import make_plan, write_plan

    corpus, location = site.home.corpus("fma", site.key), site.settings["fma"]
    _fetch(site, inputs)
    if config.source == "folder":
        source = Source(location=location, form="folder")
        tracks = read_rows(inputs["fma"].path(site.home, TRACKS), Track)
    else:
        source = _pinned(location, inputs)
        tracks = read_tracks(source, Source(location=site.settings["metadata"]))
    outline = write_plan(corpus, make_plan(tracks, config), source)
    size = sum(unit.bytes for unit in outline.units)
    facts = {"tracks": outline.tracks, "units": len(outline.units), "bytes": size}
    return Built({"plan.json": corpus.plan, "units.jsonl": corpus.units}, facts)


def _fetch(site: Site, inputs: Inputs) -> None:
    """Download archives that another machine made in this home."""
    marks.fetch(site.home, inputs.values(), lambda output: True)


def _pinned(location: str, inputs: Inputs) -> "Source":
    """Return a zip with its size and ETag as they were checked, or its present size."""
    from pipelines.archives.sources import Source

    found: Json = {} if "fma" not in inputs else inputs["fma"].facts
    size = found.get("bytes") or Path(location).stat().st_size
    return Source(location=location, bytes=size, etag=found.get("etag", ""))


def _census(site: Site, config: FmaConfig, inputs: Inputs) -> Built:
    from pipelines.packing.census import over_budget, take_census

    units = Units.of(site.home, inputs["plan"], config)
    done = {name: found.mark for name, found in units.look().items() if found.mark}
    units.gather(done)
    units.fetch_ledgers(done)
    census = take_census(units.corpus, units.stored(), list(done.values()), config)
    over_budget(census, config.error_budget)
    corpus = units.corpus
    outputs = {"census.json": corpus.census, "index.json": corpus.index}
    # Parquet files name the library that wrote them: its next release must not train anew.
    described = {
        "README.md": corpus.card,
        ATTRIBUTION: corpus.attribution,
        "tracks.parquet": corpus.tracks,
    }
    # Facts are read with the mark each time and shown in logs: the list of up to a hundred
    # thousand tracks stays in the file.
    facts = census.model_dump(mode="json", exclude={"tracks"})
    return Built({**outputs, **described}, facts, about=tuple(described))


def _unpack(site: Site, config: MusdbConfig, inputs: Inputs) -> Built:
    """Make a stems corpus of its source; the result has one form, whatever the source."""
    from pipelines.stems.residual import residuals
    from pipelines.stems.stem_ledger import LEDGER

    home, corpus = site.home, site.home.corpus("musdb", site.key)
    _fetch(site, inputs)
    songs = _STEMS[config.source](site, Path(site.settings["musdb"]), corpus, config)
    outputs = {"songs.jsonl": corpus.songs}
    for song in songs:
        for path in (home.path(song.folder) / f"{part}.wav" for part in song.parts):
            if path.is_file():
                outputs[f"{song.split}/{song.name}/{path.name}"] = path
    splits = [song.split for song in songs]
    facts: Json = {split: splits.count(split) for split in ("train", "validation", "test")}
    for split in (split for split, count in facts.items() if not count):
        site.watch.log(f"no song is in the '{split}' split", logging.WARNING)
    if corpus.ledger(LEDGER).is_file():
        outputs["ledger.jsonl"] = corpus.ledger(LEDGER)
        facts |= _left_out(site.watch, read_rows(corpus.ledger(LEDGER), LedgerRow))
    tested = [song for song in songs if song.split == "test"]
    facts["residuals"] = residuals(home, tested, config.workers)
    for name, value in facts["residuals"].items():
        site.watch.log(
            f"the mixture of test song '{name}' is not its stems' sum (relative error {value:g}): "
            "its scores are less reliable",
            logging.WARNING,
        )
    return Built(outputs, facts)


def _left_out(watch: Watch, rows: list[LedgerRow]) -> Json:
    """Report the quarantined songs of a stems corpus; return how many songs are left out."""
    for row in rows:
        if row.outcome == "quarantined":
            message = f"song {row.track} is left out ({row.reason}): {row.detail}"
            watch.log(message, logging.WARNING)
    tally = Tally.of(rows)
    # Reasons are in the ledger: the marks of stems corpora count songs alone.
    return {"filtered": tally.left_out, "quarantined": tally.failed}


def _unpack_musdb(site: Site, archive: Path, corpus: Corpus, config: MusdbConfig) -> list[StemSong]:
    from pipelines.archives.zip_archive import ArchiveReader
    from pipelines.stems.musdb import missing_validation, unpack

    with ArchiveReader(archive) as reader:
        count = counter(site.watch, sum(member.bytes for member in reader.members()))
    songs = unpack(archive, site.home, corpus, config, count)
    for title in missing_validation(songs, config):
        site.watch.log(f"validation song '{title}' is not in {archive.name}")
    return songs


def _mix_moisesdb(site: Site, source: Path, corpus: Corpus, config: MusdbConfig) -> list[StemSong]:
    from pipelines.stems.moisesdb import mix_songs

    return mix_songs(source, site.home, corpus, config, _songs(site.watch))


def _read_folder(site: Site, folder: Path, corpus: Corpus, config: MusdbConfig) -> list[StemSong]:
    from pipelines.stems.stem_folder import read_songs

    return read_songs(folder, site.home, corpus, config, _songs(site.watch))


_STEMS = {"musdb18hq": _unpack_musdb, "folder": _read_folder, "moisesdb": _mix_moisesdb}
_OF_STEMS: dict[str, set[str]] = {
    "musdb18hq": {"validation"},
    "folder": {"source", "validation", "validation_share", "seed"},
    "moisesdb": {"source", "validation_share", "test_share", "seed", "max_stems"},
}
"""The settings that decide what a source's songs are, beside `stems` and `mix`."""


def _decisive_of_stems(config: MusdbConfig) -> Json:
    wanted = _OF_STEMS[config.source] | {"stems", "mix"}
    return {name: value for name, value in config.what_matters().items() if name in wanted}


def _activity(site: Site, config: ActivityConfig, inputs: Inputs) -> Built:
    from pipelines.stems.activity import detect

    corpus = site.home.corpus("activity", site.key)
    marks.fetch(site.home, inputs.values(), lambda output: output.label.startswith("train/"))
    songs = read_rows(inputs["songs"].path(site.home, "songs.jsonl"), StemSong)
    windows = detect(site.home, songs, config, corpus.activity)
    facts: dict[str, int] = {}
    for window in windows:
        facts[window.stem] = facts.get(window.stem, 0) + len(window.starts)
    return Built({"activity.jsonl": corpus.activity}, {"windows": facts})


def _songs(watch: Watch) -> Callable[[int, int], None]:
    """Return a function that reports how many songs are done."""
    return lambda done, total: watch(done, total, "songs")


def _folder(kind: str) -> Callable[[Home, str], Path]:
    return lambda home, key: home.corpus(kind, key).root


SYNTHESISE = Stage("synthesise", 1, _synthesise)
PLAN = Stage(
    "plan-fma",
    3,
    _plan,
    matters=lambda config: config.model_dump(mode="json", include={"seed", "unit_tracks"}),
)
CENSUS = Stage("census", 3, _census, role=Role.CENSUS)
UNPACK = Stage(
    "unpack-musdb",
    1,
    _unpack,
    folder=_folder("musdb"),
    matters=_decisive_of_stems,
)
ACTIVITY = Stage("detect-activity", 1, _activity, folder=_folder("activity"))

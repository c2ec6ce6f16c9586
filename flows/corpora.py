"""Builders of the data side: archives in, shards and stem manifests out."""

from collections.abc import Callable
from pathlib import Path

from flows.stages import Built, Inputs, Site, Stage
from pipelines.activity import detect
from pipelines.archive import check_archive
from pipelines.census import over_budget, take_census
from pipelines.config import ActivityConfig, FmaConfig, MusdbConfig, SynthesisConfig
from pipelines.fma import read_tracks
from pipelines.musdb import unpack
from pipelines.pack import unit_work
from pipelines.plan import make_plan, read_plan, write_plan
from pipelines.synthesis.corpora import synthesise
from storage.config import Config
from storage.files import write_json
from storage.layout import Corpus, Home
from storage.manifests import read_rows
from storage.marks import Mark, Work
from storage.records import StemSong


class ArchiveConfig(Config):
    """One archive to check: which file, as it is now, and what it should be."""

    path: str
    bytes: int
    mtime_ns: int
    sha1: str | None
    md5: str | None


def _synthesise(site: Site, config: SynthesisConfig, inputs: Inputs) -> Built:
    folder = site.home.archives / site.key
    corpora = synthesise(config, folder, lambda done, total: site.watch(done, total, "songs"))
    paths = (corpora.fma, corpora.metadata, corpora.musdb)
    size = sum(path.stat().st_size for path in paths)
    return Built({path.name: path for path in paths}, {"bytes": size})


def _check(site: Site, config: ArchiveConfig, inputs: Inputs) -> Built:
    """Leave a slip that says what the archive is; whoever needs the archive is keyed by it."""
    read = 0

    def count(size: int) -> None:
        nonlocal read
        read += size
        site.watch(read, config.bytes, "bytes")

    sha1 = check_archive(Path(config.path), config.sha1, config.md5, count)
    facts = {"archive": Path(config.path).name, "bytes": config.bytes, "sha1": sha1}
    slip = site.home.archives / f"{site.key}.json"
    write_json(slip, facts)
    return Built({"archive.json": slip}, facts)


def _plan(site: Site, config: FmaConfig, inputs: Inputs) -> Built:
    corpus = site.home.corpus("fma", site.key)
    tracks = read_tracks(Path(site.settings["fma"]), Path(site.settings["metadata"]))
    plan = make_plan(tracks, config)
    write_plan(corpus, plan)
    facts = {"tracks": len(tracks), "units": len(plan.units)}
    return Built({"plan.json": corpus.plan}, facts)


def _census(site: Site, config: FmaConfig, inputs: Inputs) -> Built:
    corpus = plan_corpus(site.home, inputs["plan"])
    units = [mark for name, mark in sorted(inputs.items()) if name.startswith("unit ")]
    census = take_census(corpus, read_plan(corpus), units, config)
    over_budget(census, config.error_budget)
    outputs = {"census.json": corpus.census, "index.json": corpus.index}
    return Built(outputs, census.model_dump(mode="json"))


def _unpack(site: Site, config: MusdbConfig, inputs: Inputs) -> Built:
    home, corpus = site.home, site.home.corpus("musdb", site.key)
    archive = Path(site.settings["musdb"])
    songs = unpack(
        archive, home, corpus, config, lambda done, total: site.watch(done, total, "files")
    )
    outputs = {"songs.jsonl": corpus.songs}
    for song in songs:
        for path in sorted(home.path(song.folder).glob("*.wav")):
            outputs[f"{song.split}/{song.name}/{path.name}"] = path
    splits = [song.split for song in songs]
    facts = {split: splits.count(split) for split in ("train", "validation", "test")}
    return Built(outputs, facts)


def _activity(site: Site, config: ActivityConfig, inputs: Inputs) -> Built:
    corpus = site.home.corpus("activity", site.key)
    songs = read_rows(inputs["songs"].path(site.home, "songs.jsonl"), StemSong)
    windows = detect(site.home, songs, config, corpus.activity)
    facts: dict[str, int] = {}
    for window in windows:
        facts[window.stem] = facts.get(window.stem, 0) + len(window.starts)
    return Built({"activity.jsonl": corpus.activity}, {"windows": facts})


def plan_corpus(home: Home, plan: Mark) -> Corpus:
    """Return the corpus folder that a plan's mark stands for."""
    return Corpus(plan.path(home, "plan.json").parent)


def unit_works(home: Home, plan: Mark, config: FmaConfig) -> dict[str, Work]:
    """Return the work that packing each unit of a plan is, by the name a census knows it by."""
    units = read_plan(plan_corpus(home, plan)).units
    return {f"unit {unit.id}": unit_work(unit, config) for unit in units}


def _folder(kind: str) -> Callable[[Home, str], Path]:
    return lambda home, key: home.corpus(kind, key).root


SYNTHESISE = Stage("synthesise", 1, _synthesise)
CHECK = Stage("check-archive", 1, _check)
PLAN = Stage(
    "plan-fma",
    1,
    _plan,
    matters=lambda config: config.model_dump(mode="json", include={"seed", "unit_tracks"}),
)
CENSUS = Stage("census", 1, _census)
UNPACK = Stage(
    "unpack-musdb",
    1,
    _unpack,
    folder=_folder("musdb"),
    matters=lambda config: {"validation": list(config.validation)},
)
ACTIVITY = Stage("detect-activity", 1, _activity, folder=_folder("activity"))

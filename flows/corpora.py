"""Builders of the data side: archives in, shards and stem manifests out."""

from collections.abc import Callable
from pathlib import Path

from flows.stages import Built, Inputs, Site, Stage, Watch
from pipelines.activity import detect
from pipelines.archive import ArchiveReader, check_archive
from pipelines.census import over_budget, take_census
from pipelines.config import ActivityConfig, FmaConfig, MusdbConfig, SynthesisConfig
from pipelines.fma import read_tracks
from pipelines.musdb import missing_validation, unpack
from pipelines.pack import PackRequest, corpus_key, pack_units, unit_work
from pipelines.plan import Plan, make_plan, read_plan, write_plan
from pipelines.synthesis.corpora import synthesise
from storage.config import Config
from storage.files import write_json
from storage.layout import Corpus, Home
from storage.manifests import read_rows
from storage.marks import Mark, Work
from storage.records import StemSong

UNIT = "unit "
"""Begins the name by which a census knows a unit."""


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
    paths = (corpora.fma, corpora.fma_metadata, corpora.musdb)
    size = sum(path.stat().st_size for path in paths)
    return Built({path.name: path for path in paths}, {"bytes": size})


def _check(site: Site, config: ArchiveConfig, inputs: Inputs) -> Built:
    """Leave a slip that says what the archive is; whoever needs the archive is keyed by it."""
    count = _counter(site.watch, config.bytes)
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
    plan = _read_plan(site.home, inputs["plan"])
    corpus = packed_corpus(site.home, inputs["plan"], config)
    units = [mark for name, mark in sorted(inputs.items()) if name.startswith(UNIT)]
    census = take_census(corpus, plan, units, config)
    over_budget(census, config.error_budget)
    outputs = {"census.json": corpus.census, "index.json": corpus.index}
    return Built(outputs, census.model_dump(mode="json"))


def _unpack(site: Site, config: MusdbConfig, inputs: Inputs) -> Built:
    home, corpus = site.home, site.home.corpus("musdb", site.key)
    archive = Path(site.settings["musdb"])
    with ArchiveReader(archive) as reader:
        count = _counter(site.watch, sum(member.bytes for member in reader.members()))
    songs = unpack(archive, home, corpus, config, count)
    for title in missing_validation(songs, config):
        site.watch.say(f"validation song '{title}' is not in {archive.name}")
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


def packed_corpus(home: Home, plan: Mark, config: FmaConfig) -> Corpus:
    """Return the folder of the shards that a plan's units are packed into."""
    return home.corpus("fma", corpus_key(_read_plan(home, plan), config))


def pack_requests(
    home: Home, plan: Mark, config: FmaConfig, archive: str = ""
) -> dict[str, PackRequest]:
    """Return what packing each unit of a plan takes, by the name a census knows it by."""
    corpus = packed_corpus(home, plan, config)
    return {
        f"{UNIT}{unit.id}": PackRequest(home.root, corpus.root, Path(archive), unit, config)
        for unit in _read_plan(home, plan).units
    }


def work_of(request: PackRequest) -> Work:
    """Return the work that packing a unit is."""
    return unit_work(request.unit, request.config, Corpus(request.corpus))


def pack(requests: dict[str, PackRequest], workers: int, watch: Watch) -> dict[str, Mark]:
    """Pack units; return their marks by the name a census knows them by."""
    done: list[Mark] = []

    def count(mark: Mark) -> None:
        done.append(mark)
        watch(len(done), len(requests), "units")

    marks = pack_units(list(requests.values()), workers, count)
    return dict(zip(requests, marks, strict=True))


def _counter(watch: Watch, total: int) -> Callable[[int], None]:
    """Return what adds up bytes as they are done."""
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        watch(done, total, "bytes")

    return count


def _read_plan(home: Home, plan: Mark) -> Plan:
    return read_plan(Corpus(plan.path(home, "plan.json").parent))


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

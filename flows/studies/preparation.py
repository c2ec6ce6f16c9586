"""What studies begin with: archives found or synthesised, the FMA packed, songs' stems prepared."""

from typing import Generic, Literal, NamedTuple

from flows.config import StudyConfig
from flows.stage_id import StageId
from flows.stages import data
from flows.stages.archives import Wanted, find
from flows.studies.runner import Product, Runner
from pipelines.config import FmaConfig, MusdbConfig
from storage.home.layout import Home

SYNTHESISE_ID = StageId("synthesise")
PLAN_ID = StageId("plan fma")
CENSUS_ID = StageId("census")
UNPACK_ID = StageId("unpack musdb")
ACTIVITY_ID = StageId("detect activity")


class Archives(NamedTuple, Generic[Product]):
    """What one corpus is made of: where it is, and products that say what is in it."""

    locations: dict[str, str]
    products: dict[str, Product]


class Stems(NamedTuple, Generic[Product]):
    """The stems corpus: its songs, and where each stem sounds."""

    songs: Product
    activity: Product


def prepare_fma(
    runner: Runner[Product], config: StudyConfig, fma: FmaConfig, home: Home
) -> Product:
    """Tracks -> plan -> packed units -> census."""
    if fma.source == "folder":
        wanted = {"fma": Wanted(fma.archive, form="folder")}
    else:
        wanted = {
            "fma": Wanted(fma.archive, fma.sha1, in_place=True, connections=fma.connections),
            "metadata": Wanted(fma.metadata, fma.metadata_sha1, connections=fma.connections),
        }
    archives = find_archives(runner, config, home, wanted)
    plan = runner.do(PLAN_ID, data.PLAN, fma, dict(archives.locations), **archives.products)
    packed = runner.pack(fma, archives.locations["fma"], plan)
    return runner.do(CENSUS_ID, data.CENSUS, fma, {}, plan=plan, pack=packed)


def prepare_stems(
    runner: Runner[Product], config: StudyConfig, musdb: MusdbConfig, home: Home
) -> Stems[Product]:
    """Songs as WAV -> where each stem sounds."""
    form: Literal["zip", "stems"] = "stems" if musdb.source == "folder" else "zip"
    wanted = {"musdb": Wanted(musdb.archive, musdb.sha1, musdb.md5, form)}
    archives = find_archives(runner, config, home, wanted)
    songs = runner.do(UNPACK_ID, data.UNPACK, musdb, dict(archives.locations), **archives.products)
    activity = runner.do(ACTIVITY_ID, data.ACTIVITY, musdb.activity, {}, songs=songs)
    return Stems(songs, activity)


def find_archives(
    runner: Runner[Product], config: StudyConfig, home: Home, wanted: dict[str, Wanted]
) -> Archives[Product]:
    """Synthesise the archives, or check that each is there and is what it claims to be."""
    if config.synthesis:
        made = runner.do(SYNTHESISE_ID, data.SYNTHESISE, config.synthesis, {})
        root = home.archives / data.SYNTHESISE.work(config.synthesis, {}).key
        locations = {name: str(root / want.name) for name, want in wanted.items()}
        return Archives(locations, {"corpora": made})
    found = {name: find(config.data, want) for name, want in wanted.items()}
    products = {
        name: runner.do(StageId(one.verb, name), one.stage, one.config, {})
        for name, one in found.items()
    }
    return Archives({name: one.location for name, one in found.items()}, products)

"""The paper as one function: every arrow from archives to report is drawn here, and only here."""

import json
from contextlib import suppress
from typing import Literal, NamedTuple, cast

from flows.config import StudyConfig
from flows.stages import data, quality_gate, report, training
from flows.stages.archives import Wanted, find
from flows.studies import tables
from flows.studies.runner import Product, Runner
from flows.studies.variants import TABLES, Branch, Table, variants_of
from storage.config import Json, differences
from storage.errors import HomeConflictError, ManifestError
from storage.home.layout import Home

Part = Literal["study", "fma", "musdb", "pretrain", "table1", "table2", "table3", "mixit_gain"]
"""Flows that can be run: the whole study, one part of it with what it needs, or a table."""
EVERYTHING: Part = "study"


class Archives(NamedTuple):
    """What one corpus is made of: where it is, and products that say what is in it."""

    places: Json
    products: dict[str, Product]


class Stems(NamedTuple):
    """The stems corpus: its songs, and where each stem sounds."""

    songs: Product
    activity: Product


def build_graph(line: Runner, config: StudyConfig, home: Home, part: Part = EVERYTHING) -> None:
    """Send a study, one part of it, or a table of its variants down a line."""
    if part in TABLES:
        tabulate(line, config, home, cast("Table", part))
        return
    if part in ("musdb", EVERYTHING):
        stems = prepare_stems(line, config, home)
    if part in ("fma", "pretrain", EVERYTHING):
        index = prepare_fma(line, config, home)
    if part in ("pretrain", EVERYTHING):
        foundation = pretrain(line, config, index)
    if part == EVERYTHING:
        made = fine_tune(line, config, stems, foundation)
        judge(line, config, stems, {"census": index, "pretrain": foundation, **made})


def tabulate(line: Runner, config: StudyConfig, home: Home, table: Table) -> None:
    """Variants that share what they can -> their scores side by side."""
    stems = prepare_stems(line, config, home)
    shared = None if table == "table3" else prepare_fma(line, config, home)
    done: dict[str, Product] = {"census": shared} if shared else {}
    for name, own in variants_of(table, config):
        branch = Branch(line, name)
        index = shared or prepare_fma(branch, own, home)
        foundation = pretrain(branch, own, index)
        made = {"pretrain": foundation, **fine_tune(branch, own, stems, foundation)}
        made |= {"select channels": made.pop("channels"), **score(branch, own, stems, made)}
        made |= {} if shared else {"census": index}
        done |= {branch.label(label): product for label, product in made.items()}
    line.do(table, tables.STAGES[table], config, {}, **done)


def prepare_fma(line: Runner, config: StudyConfig, home: Home) -> Product:
    """Tracks -> plan -> packed units -> census."""
    fma = config.fma
    if fma.source == "folder":
        wanted = {"fma": Wanted(fma.archive, form="folder")}
    else:
        wanted = {
            "fma": Wanted(fma.archive, fma.sha1, in_place=True, connections=fma.connections),
            "metadata": Wanted(fma.metadata, fma.metadata_sha1, connections=fma.connections),
        }
    archives = find_archives(line, config, home, wanted)
    plan = line.do("plan fma", data.PLAN, fma, archives.places, **archives.products)
    units = line.pack(fma, archives.places["fma"], plan)
    return line.do("census", data.CENSUS, fma, {}, plan=plan, **units)


def prepare_stems(line: Runner, config: StudyConfig, home: Home) -> Stems:
    """Songs as WAV -> where each stem sounds."""
    musdb = config.musdb
    form: Literal["zip", "stems"] = "stems" if musdb.source == "folder" else "zip"
    wanted = {"musdb": Wanted(musdb.archive, musdb.sha1, musdb.md5, form)}
    archives = find_archives(line, config, home, wanted)
    songs = line.do("unpack musdb", data.UNPACK, musdb, archives.places, **archives.products)
    activity = line.do("detect activity", data.ACTIVITY, musdb.activity, {}, songs=songs)
    return Stems(songs, activity)


def find_archives(
    line: Runner, config: StudyConfig, home: Home, wanted: dict[str, Wanted]
) -> Archives:
    """Make the archives, or see to it that each is there and is what it claims to be."""
    if config.synthesis:
        made = line.do("synthesise", data.SYNTHESISE, config.synthesis, {})
        root = home.archives / data.SYNTHESISE.work(config.synthesis, {}).key
        return Archives(
            {name: str(root / want.name) for name, want in wanted.items()}, {"corpora": made}
        )
    found = {name: find(config.data, want) for name, want in wanted.items()}
    products = {
        name: line.do(f"{one.verb} {name}", one.stage, one.config, {})
        for name, one in found.items()
    }
    return Archives({name: one.location for name, one in found.items()}, products)


def pretrain(line: Runner, config: StudyConfig, index: Product) -> Product:
    """Shards that are good enough -> a separator that nobody told what a stem is."""
    if config.gates.judge:
        index = line.do(quality_gate.LABEL, quality_gate.GATE, config.gates, {}, census=index)
    return line.do("pretrain", training.TRAIN, config.pretraining, {}, index=index)


def fine_tune(
    line: Runner, config: StudyConfig, stems: Stems, foundation: Product
) -> dict[str, Product]:
    """Channel map -> a separator fine-tuned from the pre-trained one, and one from scratch."""
    tune, given = config.finetuning, stems._asdict()
    channels = line.do(
        "select channels",
        training.SELECT,
        config.selection,
        {},
        model=foundation,
        songs=stems.songs,
    )
    made = {
        "channels": channels,
        "finetune": line.do(
            "finetune", training.TRAIN, tune, {}, model=foundation, channels=channels, **given
        ),
    }
    if config.from_scratch:
        made["train from scratch"] = line.do(
            "train from scratch", training.TRAIN, tune, {}, **given
        )
    return made


def judge(line: Runner, config: StudyConfig, stems: Stems, made: dict[str, Product]) -> None:
    """Separators -> scores -> report."""
    scores = score(line, config, stems, made)
    line.do("report", report.REPORT, config, {}, **made, **scores)


def score(
    line: Runner, config: StudyConfig, stems: Stems, made: dict[str, Product]
) -> dict[str, Product]:
    """Separators -> scores of each."""
    songs = stems.songs
    return {
        f"evaluate {name}": line.do(
            f"evaluate {name}", training.EVALUATE, config.evaluation, {}, model=model, songs=songs
        )
        for name, model in made.items()
        if name in report.NAMES
    }


def claim(home: Home, config: StudyConfig, part: Part = EVERYTHING) -> None:
    """Take a study's name in a home, for this configuration and no other; note what was run.

    Raises:
        HomeConflictError: the name stands for another configuration here; says what differs.
    """
    path, wanted = home.study(config.name), config.what_matters()
    known: Json = {}
    with suppress(ManifestError, ValueError):
        known = json.loads(home.read(path))
    changed = differences(known.get("matters", wanted), wanted)
    if changed:
        raise HomeConflictError(
            f"home {home.url} holds study '{config.name}' with other settings "
            f"({'; '.join(changed[:5])}{'; ...' if len(changed) > 5 else ''}); use another --home, "
            "or another name with '--set name=NAME'"
        )
    # The rest of the configuration may differ from run to run: the last one's is kept.
    held = {
        "matters": wanted,
        "config": config.model_dump(mode="json"),
        "parts": sorted({part, *known.get("parts", ())}),
    }
    home.write(path, (json.dumps(held, indent=2, sort_keys=True) + "\n").encode())

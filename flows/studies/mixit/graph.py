"""The paper as one function: every arrow from archives to report is drawn here, and only here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic

from flows.stage_id import StageId
from flows.stages import quality_gate, training
from flows.studies.mixit import report, tables
from flows.studies.mixit.config import MixitStudyConfig
from flows.studies.mixit.separators import (
    FINETUNED,
    FROM_SCRATCH,
    PRETRAIN_ID,
    SELECT_ID,
    SEPARATORS,
    Separator,
)
from flows.studies.mixit.variants import TABLES, Table, variants_of
from flows.studies.preparation import CENSUS_ID, Stems, prepare_fma, prepare_stems
from flows.studies.runner import Product, Runner, VariantRunner
from storage.home.layout import Home

WHOLE, FMA, MUSDB, PRETRAIN = "study", "fma", "musdb", "pretrain"
"""Flows beside the tables: the whole study, and parts of it with what they need."""


@dataclass(frozen=True)
class Trained(Generic[Product]):
    """What fine-tuning leaves: the channel map, and each separator that is to be scored."""

    channels: Product
    separators: Mapping[Separator, Product]


def build_graph(
    runner: Runner[Product], config: MixitStudyConfig, home: Home, part: str = WHOLE
) -> None:
    """Give the stages of a study, of one part of it, or of a table to a runner."""
    if part in TABLES:
        compare_variants(runner, config, home, part)
        return
    if part in (MUSDB, WHOLE):
        stems = prepare_stems(runner, config, config.musdb, home)
    if part in (FMA, PRETRAIN, WHOLE):
        index = prepare_fma(runner, config, config.fma, home)
    if part in (PRETRAIN, WHOLE):
        foundation = pretrain(runner, config, index)
    if part == WHOLE:
        trained = fine_tune(runner, config, stems, foundation)
        scores = evaluate(runner, config, stems, trained)
        inputs = {"census": index, "pretrain": foundation, "channels": trained.channels}
        inputs |= {one.training.label: made for one, made in trained.separators.items()}
        inputs |= {one.evaluation.label: made for one, made in scores.items()}
        runner.do(report.REPORT_ID, report.REPORT, config, {}, **inputs)


def compare_variants(
    runner: Runner[Product], config: MixitStudyConfig, home: Home, table: Table
) -> None:
    """Variants that share what they can -> their scores side by side."""
    stems = prepare_stems(runner, config, config.musdb, home)
    shared = None if table == "table3" else prepare_fma(runner, config, config.fma, home)
    done: dict[StageId, Product] = {} if shared is None else {CENSUS_ID: shared}
    for name, own in variants_of(table, config):
        branch = VariantRunner(runner, name)
        index = prepare_fma(branch, own, own.fma, home) if shared is None else shared
        foundation = pretrain(branch, own, index)
        trained = fine_tune(branch, own, stems, foundation)
        scores = evaluate(branch, own, stems, trained)
        made = {PRETRAIN_ID: foundation, SELECT_ID: trained.channels}
        made |= {one.training: model for one, model in trained.separators.items()}
        made |= {one.evaluation: scored for one, scored in scores.items()}
        made |= {CENSUS_ID: index} if shared is None else {}
        done |= {what.of(name): product for what, product in made.items()}
    inputs = {what.label: product for what, product in done.items()}
    runner.do(StageId(table), tables.STAGES[table], config, {}, **inputs)


def pretrain(runner: Runner[Product], config: MixitStudyConfig, index: Product) -> Product:
    """Shards that are good enough -> a separator whose outputs have no names yet."""
    if config.gates.judge:
        index = runner.do(quality_gate.ID, quality_gate.GATE, config.gates, {}, census=index)
    return runner.do(PRETRAIN_ID, training.TRAIN, config.pretraining, {}, index=index)


def fine_tune(
    runner: Runner[Product], config: MixitStudyConfig, stems: Stems[Product], foundation: Product
) -> Trained[Product]:
    """Channel map -> a separator fine-tuned from the pre-trained one, and one from scratch."""
    tune, given = config.finetuning, {"songs": stems.songs, "activity": stems.activity}
    channels = runner.do(
        SELECT_ID, training.SELECT, config.selection, {}, model=foundation, songs=stems.songs
    )
    start = {"model": foundation, "channels": channels}
    made = {FINETUNED: runner.do(FINETUNED.training, training.TRAIN, tune, {}, **start, **given)}
    if config.from_scratch:
        made[FROM_SCRATCH] = runner.do(FROM_SCRATCH.training, training.TRAIN, tune, {}, **given)
    return Trained(channels, made)


def evaluate(
    runner: Runner[Product],
    config: MixitStudyConfig,
    stems: Stems[Product],
    trained: Trained[Product],
) -> dict[Separator, Product]:
    """Separators -> scores of each."""
    return {
        one: runner.do(
            one.evaluation,
            training.EVALUATE,
            config.evaluation,
            {},
            model=trained.separators[one],
            songs=stems.songs,
        )
        for one in SEPARATORS
        if one in trained.separators
    }

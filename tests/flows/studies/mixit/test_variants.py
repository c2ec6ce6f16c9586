"""What tables vary: the rows, what they share, and that a plan of each can be made."""

import json

import pytest

from flows.studies.estimates import Cost, cost_of
from flows.studies.mixit.config import MixitStudyConfig
from flows.studies.mixit.graph import build_graph
from flows.studies.mixit.recipes import RECIPES
from flows.studies.mixit.variants import TABLES, Table, variants_of
from flows.studies.runner import DryRun, StageStatus
from storage.config import differences
from storage.errors import ConfigError
from storage.home.layout import Home
from storage.home.open import open_home
from training import recipes as training

PACKS = "pack"


def look(home: Home, config: MixitStudyConfig, table: Table) -> list[StageStatus]:
    dry_run = DryRun(home)
    build_graph(dry_run, config, home, table)
    return dry_run.statuses


def changed(config: MixitStudyConfig, other: MixitStudyConfig) -> set[str]:
    lines = differences(config.what_matters(), other.what_matters())
    return {line.partition(":")[0] for line in lines}


def test_sizes_are_the_papers() -> None:
    found = {name: config for name, config in variants_of("table1", RECIPES["paper"]())}
    assert list(found) == ["small", "medium", "large"]
    for name, config in found.items():
        own = RECIPES[f"paper_{name}"]()
        assert config.pretraining == own.pretraining
        assert config.finetuning == own.finetuning
        assert config.from_scratch


def test_frozen_rows_share_their_pre_training_with_the_first_table() -> None:
    paper = RECIPES["paper"]()
    pairs = zip(variants_of("table1", paper), variants_of("table2", paper), strict=True)
    for whole, frozen in pairs:
        assert frozen.config.pretraining == whole.config.pretraining
        assert frozen.config.finetuning == training.frozen(whole.config.finetuning)


def test_scales_differ_by_their_archive_alone_and_train_from_scratch_once() -> None:
    paper = RECIPES["paper"]()
    found = variants_of("table3", paper)
    assert [name for name, _ in found] == ["small", "medium", "large", "full"]
    assert [config.fma.archive for _, config in found] == [f"fma_{name}.zip" for name, _ in found]
    assert [config.from_scratch for _, config in found] == [True, False, False, False]
    for _, config in found:
        assert changed(paper, config) <= {"fma.archive", "from_scratch"}


@pytest.mark.parametrize("seeds", [(0, 1), (3, 5, 7)])
def test_seeds_differ_by_their_seed_alone(seeds: tuple[int, ...]) -> None:
    config = RECIPES["gain"]().override([f"tables.seeds={json.dumps(seeds)}"])
    found = variants_of("mixit_gain", config)
    assert [one.config.pretraining.loop.seed for one in found] == list(seeds)
    assert [one.config.finetuning.loop.seed for one in found] == list(seeds)
    for _, one in found:
        assert changed(config, one) <= {"pretraining.loop.seed", "finetuning.loop.seed"}


@pytest.mark.parametrize("table", TABLES)
def test_a_study_without_variants_is_its_own_only_one(table: Table) -> None:
    study = RECIPES["real_tiny"]()
    found = variants_of(table, study)
    assert len(found) == (2 if table == "mixit_gain" else 1)
    if table in {"table1", "table3"}:
        assert found[0].config == study


def test_a_misspelt_setting_is_refused() -> None:
    sizes = [{"name": "odd", "settings": ["pretraining.model.bloks=2"]}]
    study = RECIPES["smoke"]().override([f"tables.sizes={json.dumps(sizes)}"])
    with pytest.raises(ConfigError, match="did you mean 'blocks'"):
        variants_of("table1", study)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("recipe", ["smoke", "demo", "gain", "paper"])
def test_every_table_can_be_planned(home: Home, recipe: str, table: Table) -> None:
    """Labels are unique; every variant pre-trains once, and is scored as often as it trains."""
    config = RECIPES[recipe]()
    statuses = look(home, config, table)
    labels = [one.label for one in statuses if one.label != PACKS]
    assert len(labels) == len(set(labels))
    variants = variants_of(table, config)
    for name, own in variants:
        assert f"pretrain {name}" in labels
        assert f"evaluate finetune {name}" in labels
        assert (f"evaluate train from scratch {name}" in labels) == own.from_scratch
    assert labels[-1] == table
    corpora = len(variants) if table == "table3" else 1
    assert sum(label.startswith("census") for label in labels) == corpora


def test_the_plan_of_the_paper_says_what_it_costs(home: Home) -> None:
    """Each size pre-trains once and fine-tunes twice; the sum is the three studies' own."""
    whole = sum((cost_of(home, one) for one in look(home, RECIPES["paper"](), "table1")), Cost())
    single = 0.0
    for size in ("small", "medium", "large"):
        dry_run = DryRun(home)
        build_graph(dry_run, RECIPES[f"paper_{size}"](), home)
        single += sum(cost_of(home, one).gpu_hours for one in dry_run.statuses)
    assert whole.gpu_hours == pytest.approx(single)
    assert whole.gpu_hours > 100


@pytest.fixture
def home(tmp_path: object) -> Home:
    return open_home(str(tmp_path))

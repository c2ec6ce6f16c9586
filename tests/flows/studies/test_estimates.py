"""What is left to do, in bytes, core-hours and GPU-hours."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from flows.stage_id import PackId, StageId
from flows.studies.estimates import (
    PACK_SECONDS_PER_MB,
    Cost,
    Progress,
    cost_of,
    passes,
    progress_of,
)
from flows.studies.mixit.recipes import RECIPES
from flows.studies.runner import StageStatus, State
from pipelines.config import FmaConfig
from storage.home.layout import Home
from storage.home.marks import Mark, Output, Work, commit
from training.config import TrainConfig
from training.models.bs_locoformer.config import LARGE, MEDIUM, SMALL, BsLocoformerConfig
from training.models.bs_locoformer.model import BsLocoformer

PUBLISHED_GMAC = {"small": 197, "medium": 555, "large": 1630}
"""One forward pass over 6 s with four outputs, everything included."""
MODELS = {"small": SMALL, "medium": MEDIUM, "large": LARGE}
SAMPLES, FRAMES = 264_600, 516
"""Of a segment of six seconds."""
SUSTAINED_FLOPS = 150e12
SIZE = 300_000_000
"""Bytes of a unit."""


def training(state: State, config: TrainConfig) -> StageStatus:
    return StageStatus(StageId("pretrain"), state, config=config)


def packing(done: int, missing: int, facts: dict[str, float], seconds: float = 0.0) -> StageStatus:
    units = tuple(unit(number < done, facts, seconds) for number in range(done + missing))
    state: State = "missing" if missing else "done"
    return StageStatus(PackId.whole(), state, config=FmaConfig(workers=2), units=units)


def unit(
    done: bool, facts: dict[str, float], seconds: float, finished: float = 0.0, written: int = 0
) -> StageStatus:
    when = datetime.fromtimestamp(finished, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    outputs = (Output(path="p", label="shard-0000", bytes=written, sha256="", version=""),)
    mark = Mark(
        stage="pack", version=1, key="k", config={}, inputs={}, outputs=outputs, digest="d",
        facts=facts, seconds=seconds, built_by={}, finished=when,
    )  # fmt: skip
    return StageStatus(
        PackId.whole(), "done" if done else "missing", mark=mark if done else None, size=SIZE
    )


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "fma.zip"
    path.write_bytes(bytes(1_000_000))
    return path


@pytest.mark.parametrize("size", MODELS)
def test_operations_of_the_published_models(size: str) -> None:
    """Separators alone are 93 to 97 % of the whole model, two operations per multiply-add."""
    share = MODELS[size].block_operations(FRAMES) / 2e9 / PUBLISHED_GMAC[size]
    assert 0.93 < share < 0.98
    four = MODELS[size].model_copy(update={"outputs": 4})
    assert four.operations(SAMPLES) / 2e9 == pytest.approx(PUBLISHED_GMAC[size], rel=0.02)
    if size == "medium":
        assert 1.0e12 < MEDIUM.block_operations(FRAMES) < 1.12e12


@given(st.integers(1, 12), st.integers(60, 2000))
def test_operations_grow_with_blocks_and_frames(blocks: int, frames: int) -> None:
    def count(blocks: int, frames: int) -> float:
        return BsLocoformerConfig(blocks=blocks).block_operations(frames)

    assert count(2 * blocks, frames) == pytest.approx(2 * count(blocks, frames))
    assert count(blocks, 2 * frames) > 1.8 * count(blocks, frames)


@pytest.mark.parametrize(
    ("recipe", "exaflop", "pretraining"),
    [("paper_small", 25, True), ("paper_medium", 67, True), ("paper_large", 194, True),
     ("paper_medium", 10.5, False)],
)  # fmt: skip
def test_gpu_hours_of_the_paper(
    tmp_path: Path, recipe: str, exaflop: float, pretraining: bool
) -> None:
    study = RECIPES[recipe]()
    config = study.pretraining if pretraining else study.finetuning
    assert int(config.data.segment_seconds * config.model.sample_rate) == SAMPLES
    cost = cost_of(Home(tmp_path), training("missing", config))
    expected = exaflop * 1e18 / SUSTAINED_FLOPS / 3600
    assert cost.gpu_hours == pytest.approx(expected, rel=0.03)
    assert (cost.size, cost.core_hours) == (0, 0)


def test_gpus_share_the_hours_and_a_faster_one_takes_fewer(tmp_path: Path) -> None:
    config = RECIPES["paper_small"]().pretraining
    alone = cost_of(Home(tmp_path), training("missing", config))
    eight = config.override(["runtime.processes=8", "runtime.gpu_tflops=300"])
    shared = cost_of(Home(tmp_path), training("missing", eight))
    assert shared.gpu_hours == pytest.approx(alone.gpu_hours / 2)
    assert shared.wall_hours == pytest.approx(alone.wall_hours / 16)


def test_a_frozen_separator_costs_its_forward_pass_and_its_inputs_gradient(tmp_path: Path) -> None:
    """Against operations as PyTorch counts them while such a model is trained."""
    free = RECIPES["smoke"]().finetuning.override(["runtime.recompute=nothing"])
    frozen = free.override(["freeze_separator=true"])
    counted = {config.freeze_separator: counted_operations(config) for config in (free, frozen)}
    assert passes(frozen) / passes(free) == pytest.approx(counted[True] / counted[False], rel=0.05)
    study = RECIPES["paper_small"]().finetuning
    whole = cost_of(Home(tmp_path), training("missing", study))
    held = study.override(["freeze_separator=true"])
    assert cost_of(Home(tmp_path), training("missing", held)).gpu_hours == pytest.approx(
        whole.gpu_hours * 2 / 3
    )


def counted_operations(config: TrainConfig) -> float:
    """Return what the blocks of a model take, there and back, with the encoder learning."""
    assert isinstance(config.model, BsLocoformerConfig)
    model = BsLocoformer(config.model)
    for parameter in model.frozen_parameters():
        parameter.requires_grad_(not config.freeze_separator)
    tokens = torch.randn(1, 40, 62, config.model.width, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        refined = tokens
        for block in model.get_submodule("blocks").children():
            refined = block(refined)
        torch.autograd.backward(refined.sum())
    assert tokens.grad is not None
    return float(counter.get_total_flops())


@pytest.mark.parametrize("state", ["missing", "failed", "waiting"])
def test_whatever_is_not_done_costs(tmp_path: Path, state: State) -> None:
    config = RECIPES["paper_small"]().pretraining
    assert cost_of(Home(tmp_path), training(state, config)).gpu_hours > 0


def test_done_stages_cost_nothing(tmp_path: Path, archive: Path) -> None:
    home = Home(tmp_path)
    assert cost_of(home, training("done", RECIPES["paper_small"]().pretraining)) == Cost()
    assert cost_of(home, packing(3, 0, {}), archive) == Cost()
    assert cost_of(home, StageStatus(StageId("census"), "missing", config=FmaConfig())) == Cost()


def test_a_home_that_has_trained_knows_better(tmp_path: Path) -> None:
    """By the seconds of a step of the same model and batch, however long that run was."""
    home, config = Home(tmp_path), RECIPES["paper_small"]().pretraining
    (tmp_path / "weights").write_text("w")
    work = Work("train", 1, config.what_matters(), {})
    commit(home, work, {"w": tmp_path / "weights"}, {"steps": 10}, seconds=36.0)
    longer = config.override(["loop.steps=1000", "optim.lr=1e-5"])
    assert cost_of(home, training("missing", longer)).gpu_hours == pytest.approx(1.0)
    # One whose separator does not learn takes less.
    frozen = longer.override(["freeze_separator=true"])
    assert cost_of(home, training("missing", frozen)).gpu_hours != pytest.approx(1.0)
    other = config.override(["loop.steps=1000", "data.batch_size=7"])
    counted = 3 * SMALL.operations(SAMPLES) * 7000 / SUSTAINED_FLOPS / 3600
    assert cost_of(home, training("missing", other)).gpu_hours == pytest.approx(counted)


@given(st.integers(0, 50), st.integers(1, 50))
def test_packed_units_lower_what_remains(done: int, missing: int) -> None:
    cost = cost_of(Home(Path("nowhere")), packing(done, missing, {}))
    assert cost.size == missing * SIZE
    assert cost.core_hours == pytest.approx(cost.size / 1e6 * PACK_SECONDS_PER_MB / 3600)
    assert cost.wall_hours == pytest.approx(cost.core_hours / 2)


def test_packing_before_there_is_a_plan(tmp_path: Path, archive: Path) -> None:
    waiting = StageStatus(PackId.whole(), "waiting", config=FmaConfig(archive="my.zip"))
    assert cost_of(Home(tmp_path), waiting, archive).size == 1_000_000
    assert cost_of(Home(tmp_path), waiting, tmp_path / "missing.zip") == Cost()
    assert cost_of(Home(tmp_path), waiting, None) == Cost()


@pytest.mark.parametrize(("name", "gib"), [("fma_small.zip", 7.2), ("fma_full.zip", 879)])
def test_an_archive_that_is_not_there_is_as_large_as_published(
    tmp_path: Path, name: str, gib: float
) -> None:
    waiting = StageStatus(PackId.whole(), "waiting", config=FmaConfig(archive=name))
    cost = cost_of(Home(tmp_path), waiting, tmp_path / name)
    assert cost.size == pytest.approx(gib * 2**30, rel=0.01)
    assert cost.core_hours > 0
    assert cost.written == pytest.approx(6.9 * cost.size)


def test_segments_are_written_once(tmp_path: Path) -> None:
    def written(*settings: str) -> int:
        config = FmaConfig().override(settings)
        return cost_of(
            Home(tmp_path), StageStatus(PackId.whole(), "waiting", config=config)
        ).written

    assert written("shards.storage=segments") < 0.55 * written()
    assert written("shards.codec=wav") > 1.5 * written()


def test_packing_at_the_rate_of_this_machine(tmp_path: Path) -> None:
    """Cores are counted by what the processor did, time by how long units took."""
    facts = {"bytes_in": 500_000, "cpu_seconds": 1200.0}
    done = [unit(True, facts, 1800.0, written=2_000_000)]
    left = [replace(unit(False, {}, 0.0), size=250_000)] * 4
    config = FmaConfig(workers=4)
    status = StageStatus(PackId.whole(), "missing", config=config, units=(*done, *left))
    cost = cost_of(Home(tmp_path), status)
    assert cost.size == 1_000_000
    assert cost.core_hours == pytest.approx(2 * 1200 / 3600)
    assert cost.wall_hours == pytest.approx(2 * 1800 / 3600 / 4)
    assert cost.written == 4_000_000


def test_a_cluster_of_unknown_size_has_no_wall_time(tmp_path: Path) -> None:
    cluster = FmaConfig(engine="dask", scheduler="tcp://host:8786")
    waiting = StageStatus(PackId.whole(), "waiting", config=cluster)
    assert cost_of(Home(tmp_path), waiting).wall_hours == 0
    known = replace(waiting, config=cluster.override(["workers=64"]))
    cost = cost_of(Home(tmp_path), known)
    assert cost.wall_hours == pytest.approx(cost.core_hours / 64)


def test_costs_add_up() -> None:
    assert Cost(1, 2.0, 3.0, 4, 5.0) + Cost(10, 20.0, 30.0, 40, 50.0) == Cost(11, 22, 33, 44, 55)


@given(
    workers=st.integers(1, 16), seconds=st.integers(10, 300), rounds=st.integers(1, 8),
    left=st.integers(0, 40), pause=st.integers(0, 10**6),
)  # fmt: skip
def test_progress_at_a_steady_pace(
    workers: int, seconds: int, rounds: int, left: int, pause: int
) -> None:
    """Some workers, one pace: whatever was done before a pause does not slow it."""
    start = 10**9
    early = [unit(True, {}, seconds, start - pause - 1000)]
    steady = [
        unit(True, {}, seconds, start + (turn + 1) * seconds)
        for turn in range(rounds)
        for _ in range(workers)
    ]
    units = (*early, *steady, *(unit(False, {}, 0.0) for _ in range(left)))
    progress = progress_of(StageStatus(PackId.whole(), "missing", config=FmaConfig(), units=units))
    assert progress is not None
    assert (progress.units, progress.units_done) == (len(units), len(units) - left)
    assert (progress.bytes, progress.bytes_done) == (SIZE * len(units), SIZE * (len(units) - left))
    assert progress.units_per_hour == pytest.approx(workers * 3600 / seconds)
    assert progress.bytes_per_hour == pytest.approx(SIZE * workers * 3600 / seconds)
    assert progress.seconds_left == pytest.approx(left * seconds / workers)


def test_progress_before_anything_is_done() -> None:
    failed = replace(unit(False, {}, 0.0), state="failed")
    units = (unit(False, {}, 0.0), failed)
    progress = progress_of(StageStatus(PackId.whole(), "failed", config=FmaConfig(), units=units))
    assert progress == Progress(2, 0, 1, 2 * SIZE, 0, 0.0, 0.0, None)
    assert progress_of(StageStatus(PackId.whole(), "waiting", config=FmaConfig())) is None

"""What is left to do, in bytes, core-hours and GPU-hours."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.estimates import PACK_SECONDS_PER_MB, SUSTAINED_FLOPS, Cost, cost_of, segment_frames
from flows.estimates import operations as operations_of
from flows.line import Outlook
from flows.recipes import named
from pipelines.config import FmaConfig
from storage.layout import Home
from storage.marks import Mark, Work, commit
from training.config import BsLocoformerConfig, TrainConfig
from training.recipes import LARGE, MEDIUM, SMALL

PUBLISHED_GMAC = {"small": 197, "medium": 555, "large": 1630}
"""One forward pass over 6 s with four outputs, everything included."""
MODELS = {"small": SMALL, "medium": MEDIUM, "large": LARGE}
FRAMES = 516


def training(state: str, config: TrainConfig) -> Outlook:
    return Outlook("pretrain", state, config=config)


def packing(done: int, missing: int, facts: dict[str, int], seconds: float = 0.0) -> Outlook:
    mark = Mark(
        stage="pack", version=1, key="k", config={}, inputs={}, outputs=(), digest="d",
        facts=facts, seconds=seconds, built_by={}, finished="",
    )  # fmt: skip
    units = (Outlook("pack", "done", mark=mark),) * done + (Outlook("pack", "missing"),) * missing
    return Outlook("pack", "missing" if missing else "done", config=FmaConfig(), units=units)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "fma.zip"
    path.write_bytes(bytes(1_000_000))
    return path


@pytest.mark.parametrize("size", MODELS)
def test_operations_of_the_published_models(size: str) -> None:
    """Separators alone are 93 to 97 % of the whole model, two operations per multiply-add."""
    share = operations_of(MODELS[size], FRAMES) / 2e9 / PUBLISHED_GMAC[size]
    assert 0.93 < share < 0.98
    if size == "medium":
        assert 1.0e12 < operations_of(MEDIUM, FRAMES) < 1.12e12


@given(st.integers(1, 12), st.integers(60, 2000))
def test_operations_grow_with_blocks_and_frames(blocks: int, frames: int) -> None:
    def count(blocks: int, frames: int) -> float:
        return operations_of(BsLocoformerConfig(blocks=blocks), frames)

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
    study = named(recipe)
    config = study.pretraining if pretraining else study.finetuning
    assert segment_frames(config) == FRAMES
    cost = cost_of(Home(tmp_path), training("missing", config))
    expected = exaflop * 1e18 / SUSTAINED_FLOPS / 3600
    # Small's twelve decoders weigh more beside its separator.
    assert cost.gpu_hours == pytest.approx(expected, rel=0.15 if "small" in recipe else 0.1)
    assert (cost.size, cost.core_hours) == (0, 0)


@pytest.mark.parametrize("state", ["missing", "failed", "waiting"])
def test_whatever_is_not_done_costs(tmp_path: Path, state: str) -> None:
    config = named("paper_small").pretraining
    assert cost_of(Home(tmp_path), training(state, config)).gpu_hours > 0


def test_done_stages_cost_nothing(tmp_path: Path, archive: Path) -> None:
    home = Home(tmp_path)
    assert cost_of(home, training("done", named("paper_small").pretraining)) == Cost()
    assert cost_of(home, packing(3, 0, {}), archive) == Cost()
    assert cost_of(home, Outlook("census", "missing", config=FmaConfig())) == Cost()


def test_a_home_that_has_trained_knows_better(tmp_path: Path) -> None:
    """By the seconds of a step of the same model and batch, however long that run was."""
    home, config = Home(tmp_path), named("paper_small").pretraining
    (tmp_path / "weights").write_text("w")
    work = Work("train", 1, config.what_matters(), {})
    commit(home, work, {"w": tmp_path / "weights"}, {"steps": 10}, seconds=36.0)
    longer = config.override(["loop.steps=1000", "optim.lr=1e-5"])
    assert cost_of(home, training("missing", longer)).gpu_hours == pytest.approx(1.0)
    other = config.override(["loop.steps=1000", "data.batch_size=7"])
    counted = 3 * operations_of(SMALL, FRAMES) * 7000 / SUSTAINED_FLOPS / 3600
    assert cost_of(home, training("missing", other)).gpu_hours == pytest.approx(counted)


@given(st.integers(0, 50), st.integers(1, 50))
def test_packed_units_lower_what_remains(done: int, missing: int) -> None:
    archive = Path(__file__)
    cost = cost_of(Home(Path("nowhere")), packing(done, missing, {}), archive)
    share = missing / (done + missing)
    assert cost.size == pytest.approx(archive.stat().st_size * share, abs=1)
    assert cost.core_hours == pytest.approx(cost.size / 1e6 * PACK_SECONDS_PER_MB / 3600)


def test_packing_before_there_is_a_plan(tmp_path: Path, archive: Path) -> None:
    cost = cost_of(Home(tmp_path), packing(0, 0, {}), archive)
    assert cost == Cost()
    waiting = Outlook("pack", "waiting", config=FmaConfig())
    assert cost_of(Home(tmp_path), waiting, archive).size == 1_000_000
    assert cost_of(Home(tmp_path), waiting, tmp_path / "missing.zip") == Cost()
    assert cost_of(Home(tmp_path), waiting, None) == Cost()


def test_packing_at_the_rate_of_this_machine(tmp_path: Path, archive: Path) -> None:
    outlook = packing(1, 1, {"bytes_in": 500_000}, seconds=1800.0)
    cost = cost_of(Home(tmp_path), outlook, archive)
    assert cost.size == 500_000
    assert cost.core_hours == pytest.approx(0.5)

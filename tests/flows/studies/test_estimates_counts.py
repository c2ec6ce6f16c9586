"""Estimates against counts of other making: PyTorch's operations, bytes on a disk, plain sound."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from flows.stage_id import PackId, StageId
from flows.stages.archives import DOWNLOAD, PIN, RemoteConfig
from flows.studies.estimates import (
    Cost,
    Progress,
    archive_bytes,
    cost_of,
    progress_of,
    training_operations,
)
from flows.studies.runner import StageStatus
from pipelines.archives.known_archives import published
from pipelines.config import FmaConfig
from pipelines.packing.unit_work import WRITTEN_PER_BYTE
from storage.home.layout import Home
from tests.flows.studies.test_estimates import unit
from training.config import TrainConfig
from training.models.bs_locoformer.config import BsLocoformerConfig
from training.models.bs_locoformer.model import BsLocoformer
from training.models.separator import separation_of
from training.recipes import pretrain_smoke

MODEL = BsLocoformerConfig(
    outputs=3, blocks=2, width=32, hidden=48, kernel=4, heads=2, groups=2, dropout=0
)


def training(steps: int, batch: int, seconds: float) -> TrainConfig:
    config = pretrain_smoke().override(
        [f"loop.steps={steps}", f"data.batch_size={batch}", f"data.segment_seconds={seconds}"]
    )
    return config.model_copy(update={"model": MODEL})


def counted(config: TrainConfig) -> float:
    """Return the operations of one example's step, as PyTorch counts them."""
    model = BsLocoformer(MODEL)
    samples = int(config.data.segment_seconds * MODEL.sample_rate)
    mixture = torch.randn(1, 1, MODEL.audio_channels, samples, requires_grad=True)
    # It knows no operations of the kernels of attention for CPUs, but those of products.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        torch.autograd.backward(separation_of(model(mixture)).waveforms.sum())
    return float(counter.get_total_flops())


def test_operations_of_a_whole_run_are_pytorchs() -> None:
    """Times steps, times batch; and twice the sound takes a little more than twice the work."""
    one = training(1, 1, 1.0)
    assert training_operations(one) == pytest.approx(counted(one), rel=0.05)
    assert training_operations(training(7, 1, 1.0)) == 7 * training_operations(one)
    assert training_operations(training(7, 5, 1.0)) == 35 * training_operations(one)
    longer = training(1, 1, 2.0)
    assert training_operations(longer) == pytest.approx(counted(longer), rel=0.05)


@pytest.mark.parametrize("storage", ["clips", "segments"])
def test_shards_are_as_large_as_their_sound(storage: str) -> None:
    """16 bits of two channels at 44.1 kHz, each second in two clips or once; FLAC takes 2/3."""
    of_mp3 = 263_000 / 8
    sound = 44_100 * 2 * 2 * {"clips": 2, "segments": 1}[storage]
    assert WRITTEN_PER_BYTE[storage, "wav"] == pytest.approx(sound / of_mp3, rel=0.05)
    assert WRITTEN_PER_BYTE[storage, "flac"] == pytest.approx(2 / 3 * sound / of_mp3, rel=0.1)


def test_a_folder_is_as_large_as_its_files(tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    for name, size in {"a.mp3": 1000, "album/b.mp3": 20, "album/c.mp3": 3}.items():
        (tmp_path / name).write_bytes(bytes(size))
    assert archive_bytes("fma_full.zip", tmp_path) == 1023
    assert archive_bytes("mine.zip") == archive_bytes("mine.zip", tmp_path / "missing") == 0


def test_a_download_is_read_and_written_once(tmp_path: Path) -> None:
    known = published("fma_small.zip")
    assert known
    assert known.bytes
    config = RemoteConfig(known=known.model_dump(mode="json"), connections=4, root=str(tmp_path))
    missing = StageStatus(StageId("download fma"), "missing", stage=DOWNLOAD, config=config)
    home = Home(tmp_path)
    assert cost_of(home, missing) == Cost(size=known.bytes, written=known.bytes)
    assert cost_of(home, replace(missing, stage=PIN)) == Cost()
    assert cost_of(home, replace(missing, config=FmaConfig())) == Cost()


def progress(*spans: tuple[float, float]) -> Progress:
    """Return the progress of units that were packed between these seconds, and one more."""
    start = 10**9
    done = [unit(True, {}, end - begin, start + end) for begin, end in spans]
    units = (*done, unit(False, {}, 0.0))
    found = progress_of(StageStatus(PackId.whole(), "missing", config=FmaConfig(), units=units))
    assert found
    return found


def test_a_long_unit_bridges_the_pause_of_other_workers() -> None:
    assert progress((480, 500), (990, 999), (0, 1000)).units_per_hour == pytest.approx(3 * 3.6)
    # 120 seconds are no pause yet, 121 are one.
    assert progress((0, 10), (130, 140)).units_per_hour == pytest.approx(2 * 3600 / 140)
    assert progress((0, 10), (131, 141)).units_per_hour == pytest.approx(3600 / 10)


def test_a_unit_of_less_than_a_second_counts_as_one() -> None:
    assert progress((5, 5)).units_per_hour == 3600

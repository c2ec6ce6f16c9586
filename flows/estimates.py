"""What is left to do, in bytes, core-hours and GPU-hours, before anything runs.

Rates come from this home's own finished stages where there are any, else from the measured or
published figures named here.
"""

from dataclasses import dataclass
from pathlib import Path

from flows.line import Outlook
from pipelines.config import FmaConfig
from storage import marks
from storage.layout import Home
from storage.marks import Mark
from training.config import BsLocoformerConfig, TrainConfig

PACK_SECONDS_PER_MB = 0.22
"""Core-seconds to unzip, decode, resample and encode a megabyte of MP3 (see BENCHMARKS.md)."""
SUSTAINED_FLOPS = 150e12
"""What a data-centre GPU is assumed to sustain in bf16 until this home has measured better."""


@dataclass(frozen=True)
class Cost:
    """What one stage still costs."""

    size: int = 0
    """Bytes to read."""
    core_hours: float = 0.0
    gpu_hours: float = 0.0


def cost_of(home: Home, outlook: Outlook, archive: Path | None = None) -> Cost:
    """Estimate what a stage that is not done still costs."""
    if outlook.state == "done":
        return Cost()
    if outlook.label == "pack" and isinstance(outlook.config, FmaConfig):
        return _packing(outlook, archive)
    if isinstance(outlook.config, TrainConfig):
        return Cost(gpu_hours=_training_hours(home, outlook.config))
    return Cost()


def _packing(outlook: Outlook, archive: Path | None) -> Cost:
    whole = archive.stat().st_size if archive and archive.exists() else 0
    missing = sum(unit.mark is None for unit in outlook.units)
    share = missing / len(outlook.units) if outlook.units else 1.0
    size = round(whole * share)
    return Cost(size, size / 1e6 * _pack_rate(outlook) / 3600)


def _pack_rate(outlook: Outlook) -> float:
    """Return core-seconds per megabyte, by the units that are packed already."""
    done = [unit.mark for unit in outlook.units if unit.mark]
    size = sum(mark.facts.get("bytes_in", 0) for mark in done)
    seconds = sum(mark.seconds for mark in done)
    return seconds / size * 1e6 if size else PACK_SECONDS_PER_MB


def _training_hours(home: Home, config: TrainConfig) -> float:
    """Estimate by a run of the same model and batch in this home, else by counting operations."""
    rates = [rate for mark in marks.all_marks(home) if (rate := _step_seconds(mark, config))]
    if rates:
        return config.loop.steps * min(rates) / 3600
    examples = config.loop.steps * config.data.batch_size
    return 3 * operations(config.model, segment_frames(config)) * examples / SUSTAINED_FLOPS / 3600


def _step_seconds(mark: Mark, config: TrainConfig) -> float:
    wanted = config.what_matters()
    same = all(mark.config.get(part) == wanted[part] for part in ("model", "data"))
    steps = mark.facts.get("steps", 0)
    return mark.seconds / steps if mark.stage == "train" and same and steps else 0.0


def segment_frames(config: TrainConfig) -> int:
    """Return how many STFT frames a training segment has."""
    return int(config.data.segment_seconds * config.model.sample_rate) // config.model.hop


def operations(model: BsLocoformerConfig, frames: int) -> float:
    """Return the floating-point operations of one forward pass (two per multiply-accumulate).

    Separator blocks only: they are 94 to 97 % of the published models.
    """
    bands = 62
    tokens = frames * bands
    convolutions = 2 * 3 * model.hidden * model.width * model.kernel
    # They are padded by kernel - 1 on both sides, in half of the paths over bands.
    edge = 1 + (model.kernel - 1) * (1 / frames + 1 / bands) / 2
    projections = 4 * model.width**2
    attention = 2 * model.width * (frames + bands) / 2
    return 2.0 * tokens * 2 * model.blocks * (convolutions * edge + projections + attention)

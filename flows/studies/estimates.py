"""What is left to do, in bytes and hours, before anything runs; and how far packing is.

Rates come from this home's own finished stages where there are any, else from the measured or
published figures named here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from flows.stage_id import PackId
from flows.stages.archives import DOWNLOAD, RemoteConfig
from flows.studies.runner import StageStatus
from pipelines.archives.folder_digest import folder_state
from pipelines.archives.known_archives import published
from pipelines.config import FmaConfig, ShardConfig
from pipelines.packing.unit_work import WRITTEN_PER_BYTE
from pipelines.workers.fan_out import cores
from storage.home import marks
from storage.home.layout import Home
from storage.home.marks import Mark
from training.config import TrainConfig

PACK_SECONDS_PER_MB = 0.2
"""Core-seconds to unzip, decode, resample and encode a megabyte of MP3: seventeen real recordings
took 0.17 without unzipping, which takes 0.03."""
ROUGHLY = {"fma_full.zip": 879 << 30}
"""Bytes of archives whose publisher gives a rounded size."""
RECENT = 200
"""Number of latest units whose times give the current rate of packing."""
IDLE_SECONDS = 120.0
"""Nothing was packed between two units that lie further apart than this and the latter's time."""


@dataclass(frozen=True)
class Cost:
    """What one stage still costs."""

    size: int = 0
    """Bytes to read."""
    core_hours: float = 0.0
    gpu_hours: float = 0.0
    written: int = 0
    """Bytes to write."""
    wall_hours: float = 0.0
    """On this machine's cores, or as many workers as are set; 0 on a cluster of unknown size."""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.size + other.size,
            self.core_hours + other.core_hours,
            self.gpu_hours + other.gpu_hours,
            self.written + other.written,
            self.wall_hours + other.wall_hours,
        )


@dataclass(frozen=True)
class Progress:
    """How far the packing of a corpus is, and how fast it goes."""

    units: int
    units_done: int
    failed: int
    """Units whose last attempt failed."""
    bytes: int
    """To read, of all units."""
    bytes_done: int
    units_per_hour: float
    bytes_per_hour: float
    """Of late, pauses left out; 0 where nothing is packed yet."""
    seconds_left: float | None
    """At this rate; None where there is none."""


class Rates(NamedTuple):
    """What packing a byte of archive takes."""

    core_seconds: float
    worker_seconds: float
    """Of one worker, waiting included."""
    written: float
    """Bytes."""


def cost_of(home: Home, status: StageStatus, archive: Path | None = None) -> Cost:
    """Estimate what a stage that is not done still costs; `archive` is where its archive may be."""
    if status.state == "done":
        return Cost()
    if status.id == PackId.whole() and isinstance(status.config, FmaConfig):
        return _packing(status, status.config, archive)
    if status.stage is DOWNLOAD and isinstance(status.config, RemoteConfig):
        size = archive_bytes(status.config.archive.name)
        return Cost(size=size, written=size)
    if isinstance(status.config, TrainConfig):
        hours, gpus = _training_hours(home, status.config), status.config.runtime.processes
        return Cost(gpu_hours=hours * gpus, wall_hours=hours)
    return Cost()


def progress_of(status: StageStatus) -> Progress | None:
    """Return how far packing is; None of other stages, and before there is a plan."""
    if not status.units:
        return None
    done = [unit for unit in status.units if unit.mark]
    size, size_done = sum(unit.size for unit in status.units), sum(unit.size for unit in done)
    recent = _latest([_Span.of(unit.mark, unit.size) for unit in done if unit.mark])
    hours = _hours(recent)
    per_hour = sum(span.size for span in recent) / hours if hours else 0.0
    return Progress(
        units=len(status.units),
        units_done=len(done),
        failed=sum(unit.state == "failed" for unit in status.units),
        bytes=size,
        bytes_done=size_done,
        units_per_hour=len(recent) / hours if hours else 0.0,
        bytes_per_hour=per_hour,
        seconds_left=(size - size_done) / per_hour * 3600 if per_hour else None,
    )


def archive_bytes(name: str, path: Path | None = None) -> int:
    """Return the size of an archive that is here, or as it is published; 0 if unknown."""
    if path and path.is_file():
        return path.stat().st_size
    if path and path.is_dir():
        return folder_state(path)[0]
    known = published(name)
    return known.bytes if known and known.bytes else ROUGHLY.get(name, 0)


class _Span(NamedTuple):
    """When a unit was packed, in seconds since 1970, and its bytes."""

    finished: float
    started: float
    size: int

    @classmethod
    def of(cls, mark: Mark, size: int) -> "_Span":
        finished = datetime.strptime(mark.finished, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        return cls(finished.timestamp(), finished.timestamp() - mark.seconds, size)


def _latest(spans: Sequence[_Span]) -> list[_Span]:
    """Return the last units that were packed without a pause between them."""
    recent: list[_Span] = []
    for span in sorted(spans, reverse=True)[:RECENT]:
        if recent and min(one.started for one in recent) - span.finished > IDLE_SECONDS:
            break
        recent.append(span)
    return recent


def _hours(spans: Sequence[_Span]) -> float:
    if not spans:
        return 0.0
    # Marks hold whole seconds.
    seconds = max(span.finished for span in spans) - min(span.started for span in spans)
    return max(seconds, 1.0) / 3600


def _packing(status: StageStatus, config: FmaConfig, archive: Path | None) -> Cost:
    if status.units:
        size = sum(unit.size for unit in status.units if unit.mark is None)
    else:
        size = archive_bytes(config.archive, archive)
    rates = packing_rates([unit.mark for unit in status.units if unit.mark], config.shards)
    workers = config.workers or (cores() if config.engine == "local" else 0)
    return Cost(
        size=size,
        core_hours=size * rates.core_seconds / 3600,
        written=round(size * rates.written),
        wall_hours=size * rates.worker_seconds / workers / 3600 if workers else 0.0,
    )


def packing_rates(done: Sequence[Mark], form: ShardConfig) -> Rates:
    """Return this home's own rates, by the units that are packed already, or the usual ones."""
    counted = [mark for mark in done if mark.facts.get("bytes_in")]
    size = sum(mark.facts["bytes_in"] for mark in counted)
    if not size:
        usual = PACK_SECONDS_PER_MB / 1e6
        return Rates(usual, usual, WRITTEN_PER_BYTE[form.storage, form.codec])
    return Rates(
        sum(mark.facts.get("cpu_seconds", mark.seconds) for mark in counted) / size,
        sum(mark.seconds for mark in counted) / size,
        sum(mark.size for mark in counted) / size,
    )


def _training_hours(home: Home, config: TrainConfig) -> float:
    """Estimate by a run of the same model and batch in this home, else by counting operations.

    Several GPUs are taken to be as many times as fast, and an earlier run to have had as many.
    """
    rates = [rate for mark in marks.all_marks(home) if (rate := _step_seconds(mark, config))]
    if rates:
        return config.loop.steps * min(rates) / 3600
    sustained = config.runtime.gpu_tflops * 1e12 * config.runtime.processes
    return training_operations(config) / sustained / 3600


def training_operations(config: TrainConfig) -> float:
    """Return the floating-point operations of a whole training run."""
    examples = config.loop.steps * config.data.batch_size
    samples = int(config.data.segment_seconds * config.model.sample_rate)
    return passes(config) * config.model.operations(samples) * examples


def passes(config: TrainConfig) -> int:
    """Return what a training step of the separator costs, in forward passes.

    Forward, gradients of activations, gradients of weights. A frozen separator has none of the
    last; the encoder before it learns all the same, so gradients pass through it.
    """
    return 2 if config.freeze_separator else 3


def _step_seconds(mark: Mark, config: TrainConfig) -> float:
    wanted, parts = config.what_matters(), ("model", "data", "freeze_separator")
    same = all(mark.config.get(part) == wanted[part] for part in parts)
    steps = mark.facts.get("steps", 0)
    return mark.seconds / steps if mark.stage == "train" and same and steps else 0.0

"""Data configuration -> batches on the device."""

from collections.abc import Callable
from typing import cast

from storage.home.runs import Job
from storage.unions import implementation_of
from training.config import TrainConfig
from training.data.batches import Loader, Request, Sources
from training.data.table import SOURCES
from training.distributed import ProcessRank


def loader(config: TrainConfig, job: Job, rank: ProcessRank) -> Loader:
    """Return the batches of a training job.

    What a source needs of the job's inputs, its `open_sources` says: clips need the input `index`,
    stems `songs`, `activity` and `home`, windows `songs` and `home`.

    Raises:
        RunError: an input is not named in the job.
        ConfigError, DataError: the data do not suit the configuration, or are too few.
    """
    open_sources = cast(
        "Callable[[Job, Request], Sources]", implementation_of(SOURCES, config.data)
    )
    sources = open_sources(job, request_of(config))
    return Loader(sources, config.data.batch_size, rank, config.runtime.loader_workers)


def request_of(config: TrainConfig) -> Request:
    """Return what a run asks of its source of examples."""
    limit = config.loop.validation_batches * config.data.batch_size
    return Request(config.data, config.model, config.loop.seed, limit)

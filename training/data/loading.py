"""Data configuration -> batches on the device."""

from collections.abc import Callable
from typing import cast

from storage.home.runs import Job
from storage.unions import implementation_of
from training.config import TrainConfig
from training.data.batches import Loader, Sources
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
        "Callable[[Job, TrainConfig], Sources]", implementation_of(SOURCES, config.data)
    )
    sources = open_sources(job, config)
    return Loader(sources, config.data.batch_size, rank, config.runtime.loader_workers)

"""Data configuration -> batches of references on the device."""

from storage.runs import Job
from training.config import MixitData, TrainConfig
from training.data import clips, stems
from training.data.batches import Loader, Source
from training.distributed import Place

__all__ = ["Loader", "loader"]


def loader(config: TrainConfig, job: Job, place: Place) -> Loader:
    """Return the batches of a training job.

    Clips need the input `index`; stems need `songs`, `activity` and `home`.

    Raises:
        RunError: an input is not named in the job.
        ConfigError, DataError: the data do not suit the configuration, or are too few.
    """
    seed = config.loop.seed
    limit = config.loop.validation_batches * config.data.batch_size
    training: Source
    validation: Source
    if isinstance(config.data, MixitData):
        training, validation = clips.sources(
            job.path("index"), config.data, config.model, seed, limit
        )
    else:
        corpus = stems.StemCorpus.open(
            job.path("songs"), job.path("home"), config.model.sample_rate
        )
        training, validation = stems.sources(
            corpus, job.path("activity"), config.data, config.model, seed, limit
        )
    workers = config.runtime.loader_workers
    return Loader(training, validation, config.data.batch_size, place, workers)

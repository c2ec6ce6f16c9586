"""Data configuration -> batches of references on the device."""

from pathlib import Path

from storage.home.layout import Corpus, Home
from storage.home.runs import Job
from storage.shards.cache import ShardCache
from storage.shards.reader import ShardReader
from training.config import MixitData, TrainConfig
from training.data import clips, stems
from training.data.batches import Loader, Source
from training.distributed import ProcessRank

__all__ = ["Loader", "loader", "open_clips"]

GIGABYTE = 10**9


def loader(config: TrainConfig, job: Job, place: ProcessRank) -> Loader:
    """Return the batches of a training job.

    Clips need the input `index`, and `home` and `corpus` where they lie in a bucket: the folder of
    the corpus, relative to the home. Stems need `songs`, `activity` and `home`.

    Raises:
        RunError: an input is not named in the job.
        ConfigError, DataError: the data do not suit the configuration, or are too few.
    """
    seed = config.loop.seed
    limit = config.loop.validation_batches * config.data.batch_size
    training: Source
    validation: Source
    if isinstance(config.data, MixitData):
        reader = open_clips(job, config.data)
        training, validation = clips.sources(reader, config.data, config.model, seed, limit)
    else:
        corpus = stems.StemCorpus.open(job.path("songs"), job.home().root, config.model.sample_rate)
        training, validation = stems.sources(
            corpus, job.path("activity"), config.data, config.model, seed, limit
        )
    workers = config.runtime.loader_workers
    return Loader(training, validation, config.data.batch_size, place, workers)


def open_clips(job: Job, config: MixitData) -> ShardReader:
    """Open the clips of a job: beside their index, or in the bucket of the home.

    Raises:
        RunError: the job names no `index`.
        ConfigError: the home's address is malformed.
        DataError: a shard or a sidecar is missing or damaged.
    """
    index = job.path("index")
    if not {"corpus", "home"} <= job.inputs.keys():
        return ShardReader(index)
    home = Home.open(job.inputs["home"])
    if not home.remote:
        return ShardReader(index)
    folder = Path(config.cache).expanduser() if config.cache else home.cache
    cache = ShardCache(folder, round(config.cache_gb * GIGABYTE)) if config.cache_gb else None
    shards = home.relative(Corpus(home.path(job.inputs["corpus"])).shards)
    return ShardReader(index, home.store, shards, cache)

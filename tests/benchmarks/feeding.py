"""A training step fed by the real loader from real shards: which share of it waits for data."""

import tempfile
import time
from pathlib import Path

from storage.home.runs import Job
from tests.benchmarks.lab import Lab, Step
from tests.shards import Form, write_corpus
from tests.synthesised import tune
from training.config import TrainConfig
from training.data.clips.config import ClipsData
from training.distributed import ProcessRank
from training.engine.loading import loader
from training.settings.runtime import RuntimeConfig

SONGS, SONG_SECONDS, CLIP_SECONDS = 8, 21.0, 10
"""Of the corpus: a few FLAC clips, read again and again. They stay in the kernel's cache."""


def waiting(lab: Lab, step: Step, workers: int, steps: int) -> float:
    """Return the share of `steps` steps that passes before their batch is on the device."""
    rate = lab.config.sample_rate
    songs = {f"{n:06d}": tune(SONG_SECONDS, 200.0 + n, rate) for n in range(SONGS)}
    data = ClipsData(
        batch_size=lab.setup.batch, segment_seconds=lab.setup.seconds, validation_share=0.3
    )
    config = TrainConfig(model=lab.config, data=data, runtime=RuntimeConfig(loader_workers=workers))
    with tempfile.TemporaryDirectory() as folder:
        index = write_corpus(Path(folder), songs, Form(rate, CLIP_SECONDS * rate))
        job = Job(verb="train", inputs={"index": str(index)}, recipe={})
        batches = loader(config, job, ProcessRank(device=lab.device)).training(0)
        # The first one waits for the reading to begin, whatever comes after.
        step.take(next(batches))
        began, waited = time.perf_counter(), 0.0
        for _ in range(steps):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            step.take(batch)
        whole = time.perf_counter() - began
        batches.close()  # type: ignore[attr-defined]
    return waited / whole

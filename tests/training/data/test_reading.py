"""Batches of a whole job: the same for any number of processes, from any step, from any process."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import pytest
import torch
from botocore.retries.standard import ExponentialBackoff
from torch import Tensor

from storage.errors import IntegrityError, ManifestError, RunError
from storage.home.layout import Corpus
from storage.home.open import open_home
from storage.home.runs import Job
from storage.retry_policy import RetryPolicy
from tests.bucket import bucket, moto_server
from tests.fault_proxy import fault_proxy
from tests.shards import Form, write_corpus
from tests.training.conftest import MIXIT, RATE, tone
from training.config import TrainConfig
from training.data.clips.source import open_clips
from training.distributed import ProcessRank
from training.engine.loading import loader

CORPUS = "fma/0a1b"
SETTINGS = [(storage, order) for storage in ("clips", "segments") for order in ("clips", "shards")]


def job_of(index: Path, **inputs: str) -> Job:
    return Job(verb="train", inputs={"index": str(index), **inputs}, recipe={})


def batches(
    config: TrainConfig, job: Job, first: int, count: int, process: ProcessRank
) -> list[Tensor]:
    """Return the references of so many batches."""
    made = loader(config, job, process)
    try:
        return [batch.references for batch in islice(made.training(first), count)]
    finally:
        # What a job leaves to its end, which a test has not.
        made._training._reader.close()  # type: ignore[attr-defined]


@pytest.fixture(scope="module", params=SETTINGS, ids="-".join)
def studied(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainConfig, Job]:
    """Clips of a second in shards of about four, and a recipe that reads them."""
    storage, order = request.param
    songs = {f"{n:06d}": tone(n, 2.0 + 0.5 * (n % 3), 80 + 53 * n) for n in range(8)}
    form = Form(RATE, RATE, storage, max_bytes=60_000)
    index = write_corpus(tmp_path_factory.mktemp("corpus"), songs, form)
    data = {"order": order, "shards_at_once": 2, "batch_size": 6}
    config = MIXIT.override([f"data.{name}={value}" for name, value in data.items()])
    return config, job_of(index)


@pytest.mark.parametrize("world", [2, 3])
def test_processes_together_see_what_one_would(
    studied: tuple[TrainConfig, Job], world: int
) -> None:
    config, job = studied
    steps = 6
    alone = batches(config, job, 0, steps, ProcessRank())
    shares = [batches(config, job, 0, steps, ProcessRank(rank, world)) for rank in range(world)]
    for step, whole in enumerate(alone):
        assert len({len(share[step]) for share in shares}) == 1
        together = torch.stack([share[step] for share in shares], dim=1).flatten(0, 1)
        assert torch.equal(together, whole)


def test_a_run_goes_on_from_any_step(studied: tuple[TrainConfig, Job]) -> None:
    """Twelve steps are three times the corpus and more: an order ends at several of them."""
    config, job = studied
    whole = batches(config, job, 0, 12, ProcessRank())
    for step in range(10):
        rest = batches(config, job, step, 3, ProcessRank())
        assert len(rest) == min(3, 12 - step)
        assert all(torch.equal(*pair) for pair in zip(rest, whole[step:], strict=False))


def test_both_forms_of_storage_give_the_same_batches(tmp_path: Path, mixit: TrainConfig) -> None:
    songs = {f"{n:06d}": tone(n, 2.5, 80 + 53 * n) for n in range(6)}
    first, second = (
        batches(mixit, job_of(write_corpus(tmp_path / storage, songs, Form(RATE, RATE, storage))),
                0, 3, ProcessRank())
        for storage in ("clips", "segments")
    )  # fmt: skip
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))


def test_a_damaged_shard_ends_the_run_and_is_named(tmp_path: Path, mixit: TrainConfig) -> None:
    songs = {f"{n:06d}": tone(n, 2.5, 80 + 53 * n) for n in range(6)}
    index = write_corpus(tmp_path, songs, Form(RATE, RATE, max_bytes=60_000))
    shard = Corpus(tmp_path).shard("0000", 1)
    sound = shard.read_bytes()
    shard.write_bytes(sound[:2000] + bytes(len(sound) - 2000))
    with pytest.raises(IntegrityError, match=r"clip t\d{6}_c\d{4} in shard .*0000-01\.tar"):
        batches(mixit, job_of(index), 0, 40, ProcessRank())
    shard.unlink()
    with pytest.raises(ManifestError, match=r"0000-01\.tar is missing"):
        batches(mixit, job_of(index), 0, 1, ProcessRank())


def test_a_job_without_an_index_is_refused(mixit: TrainConfig) -> None:
    with pytest.raises(RunError, match="names no input 'index'"):
        loader(mixit, Job(verb="train", inputs={}, recipe={}), ProcessRank())


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as address:
        yield address


def put(url: str, folder: Path, form: Form) -> tuple[Job, Path]:
    """Put a corpus into a bucket; return a job that reads it there, and the index of it here."""
    songs = {f"{n:06d}": tone(n, 2.5, 80 + 53 * n) for n in range(6)}
    index = write_corpus(folder / "here" / CORPUS, songs, form)
    home = open_home(url)
    for path in (index.parent / "shards").iterdir():
        home.store.write(f"{CORPUS}/shards/{path.name}", path.read_bytes())
    local = shutil.copy(index, folder / "index.json")
    return job_of(Path(local), home=url, corpus=CORPUS), index


@pytest.fixture
def elsewhere(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Form], tuple[Job, Path]]]:
    """`put` into a bucket of its own."""
    monkeypatch.setenv("STEMWORKS_SCRATCH", str(tmp_path / "scratch"))
    with bucket(endpoint) as url:
        yield partial(put, url, tmp_path)


@pytest.mark.parametrize("storage", ["clips", "segments"])
@pytest.mark.parametrize("order", ["clips", "shards"])
@pytest.mark.parametrize("cache_gb", [0, 1e-7, 1], ids=["no cache", "too small", "cache"])
def test_a_bucket_gives_the_same_batches(
    elsewhere: Callable[[Form], tuple[Job, Path]],
    mixit: TrainConfig,
    storage: str,
    order: str,
    cache_gb: float,
) -> None:
    job, index = elsewhere(Form(RATE, RATE, storage, max_bytes=60_000))  # type: ignore[arg-type]
    config = mixit.override([f"data.order={order}", f"data.cache_gb={cache_gb}"])
    there = batches(config, job, 3, 6, ProcessRank())
    here = batches(config, job_of(index), 3, 6, ProcessRank())
    assert all(torch.equal(*pair) for pair in zip(there, here, strict=True))
    cache = open_home(job.inputs["home"]).root / "cache"
    assert (cache_gb == 1) == cache.is_dir()


def test_the_cache_fills_as_training_goes(
    elsewhere: Callable[[Form], tuple[Job, Path]], mixit: TrainConfig, tmp_path: Path
) -> None:
    job, _ = elsewhere(Form(RATE, RATE, max_bytes=60_000))
    config = mixit.override([f"data.cache={tmp_path / 'fast'}", "data.order=shards"])
    reader = open_clips(job, config.data)  # type: ignore[arg-type]
    assert reader.fetch_ahead(range(len(reader.index.shards)))
    assert reader._ahead is not None
    reader._ahead.wait()
    held = {path.name for path in (tmp_path / "fast").iterdir() if path.is_file()}
    assert held == {shard.sha256 for shard in reader.index.shards}
    home = open_home(job.inputs["home"])
    for shard in reader.index.shards:
        home.store.remove(f"{CORPUS}/shards/{shard.name}")
    for number in range(len(reader)):
        assert reader.read(number).shape == (2, RATE)
    reader.close()


def test_a_failing_network_changes_nothing(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEMWORKS_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setattr(RetryPolicy, "wait_seconds", lambda *_: 0.001)
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0.001)
    with fault_proxy(endpoint) as (address, rules), bucket(address) as url:
        job, index = put(url, tmp_path, Form(RATE, RATE, max_bytes=60_000))
        faults = [
            rules.add("truncate", "GET", r"\.tar", amount=500, first=2, times=3),
            rules.add("reset", "GET", r"\.tar", amount=100, first=3, times=2),
            rules.add("status", "GET", r"\.tar", amount=503, first=4, times=2),
        ]
        there = batches(MIXIT.override(["data.cache_gb=0"]), job, 0, 4, ProcessRank())
    assert all(fault.met >= fault.first for fault in faults)
    here = batches(MIXIT, job_of(index), 0, 4, ProcessRank())
    assert all(torch.equal(*pair) for pair in zip(there, here, strict=True))

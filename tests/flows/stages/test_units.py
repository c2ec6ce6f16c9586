"""A corpus's units as a study sees them: dealt out, looked up, summed up."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.stages.units import PACKING_TASKS, Units, batched, merge_marks
from pipelines.archives.sources import Source
from pipelines.config import FmaConfig
from pipelines.tracks.plan import make_plan, write_plan
from pipelines.workers.fan_out import cores
from storage.errors import ManifestError
from storage.home.layout import Home
from storage.home.marks import Mark, Work, commit
from storage.records import Track
from tests.flows.stages.test_stage import Silent

CONFIG = FmaConfig(unit_tracks=2)


@pytest.fixture
def units(tmp_path: Path) -> Units:
    """A plan of five units, none of them packed."""
    home = Home(tmp_path)
    tracks = [Track(id=f"{n:06d}", member=f"{n}.mp3", bytes=n + 1, crc=n) for n in range(9)]
    corpus = home.corpus("fma", "plan")
    source = Source(location=str(tmp_path / "there.zip"), bytes=77, etag='"x"')
    write_plan(corpus, make_plan(tracks, CONFIG), source)
    outputs = {"plan.json": corpus.plan, "units.jsonl": corpus.units}
    plan = commit(home, Work("plan", 1, {}, {}), outputs, {}, 0.0)
    return Units.of(home, plan, CONFIG)


def pack(units: Units, *names: str, content: str = "sound", seconds: float = 2.0) -> None:
    """Leave what packing some units leaves."""
    for name in names:
        path = units.corpus.shard(name, 0)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + name)
        facts = {"tracks": 2, "clips": 5, "hours": 0.25}
        commit(units.home, units.works[name], {"shard-0000": path}, facts, seconds)


def done(units: Units) -> dict[str, Mark]:
    return {name: found.mark for name, found in units.look().items() if found.mark}


@given(
    count=st.integers(0, 40_000),
    asked=st.integers(0, 50),
    engine=st.sampled_from(["local", "dask"]),
)
def test_tasks_stay_few(count: int, asked: int, engine: str) -> None:
    names = [str(number) for number in range(count)]
    config = FmaConfig.parse({"units_per_task": asked, "engine": engine})
    batches = batched(names, config)
    assert [name for batch in batches for name in batch] == names
    assert all(batches)
    assert len(batches) <= PACKING_TASKS
    if asked and count <= asked * PACKING_TASKS:
        assert all(len(batch) == asked for batch in batches[:-1])
    elif engine == "dask" and not asked:
        assert len(batches) <= 1, "the cluster keeps a queue of its own"
    elif count:
        assert len(batches[0]) >= min(count, cores())


def test_units_of_a_plan(units: Units) -> None:
    assert list(units.works) == [f"{number:04d}" for number in range(5)]
    assert len({work.key for work in units.works.values()}) == 5
    assert not done(units)
    pack(units, "0001", "0003")
    assert list(done(units)) == ["0001", "0003"]
    with pytest.raises(ManifestError, match=r"unit 0000 and 2 more of .* is not packed; run again"):
        units.gather(done(units))


def test_requests_know_where_the_archive_is_now(units: Units) -> None:
    requests = units.requests(["0001", "0003"], "/elsewhere/fma.zip")
    assert [request.unit.id for request in requests] == ["0001", "0003"]
    assert [request.work for request in requests] == [units.works["0001"], units.works["0003"]]
    for request in requests:
        assert request.source == Source(location="/elsewhere/fma.zip", bytes=77, etag='"x"')
    assert "there.zip" not in units.stored().corpus.plan.read_text(), "a moved archive is the same"


def test_all_units_are_one_product(units: Units) -> None:
    pack(units, *units.works)
    whole = units.gather(done(units))
    assert whole.facts == {
        "units": 5, "tracks": 10, "kept": 0, "clips": 25, "hours": 1.25, "bytes_in": 0,
        "cpu_seconds": 0, "filtered": {}, "quarantined": {},
    }  # fmt: skip
    assert whole.seconds == 10.0
    parts = [merge_marks(names, done(units)) for names in (["0000", "0001"], ["0002"])]
    assert len({whole.digest, *(part.digest for part in parts)}) == 3
    pack(units, "0002", seconds=99.0)
    assert units.gather(done(units)).digest == whole.digest, "the same bytes, however they came"
    pack(units, "0002", content="noise")
    assert units.gather(done(units)).digest != whole.digest


def test_failures_are_told_with_their_units(units: Units) -> None:
    for name in ("0001", "0004"):
        work = units.works[name]
        note = units.home.mark(work.stage, work.key).with_suffix(".failed")
        units.home.write(note, json.dumps({"error": f"{name} is gone"}).encode())
    note = units.home.mark("pack", "of-another-corpus").with_suffix(".failed")
    units.home.write(note, b"{}")
    assert units.failures() == {"0001": "0001 is gone", "0004": "0004 is gone"}


def test_nothing_to_pack_is_no_work(units: Units) -> None:
    assert units.pack([], "nowhere.zip", Silent()) == {}

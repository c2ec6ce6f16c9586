"""What a dry run sees beforehand is what a run then does. No Prefect: a runner of our own."""

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.stage_id import PackId, StageId
from flows.stages.stage import Site, Stage, perform
from flows.stages.units import Units
from flows.studies.mixit.config import MixitStudyConfig
from flows.studies.mixit.graph import build_graph
from flows.studies.mixit.recipes import RECIPES
from flows.studies.runner import DryRun, Runner, StageStatus
from pipelines.config import FmaConfig
from storage.config import Config, Json
from storage.errors import DataError, StemworksError
from storage.home.layout import Home
from storage.home.marks import Mark, find_fault
from tests import synthesised
from tests.flows.stages.test_stage import Silent

DATA = ("check fma", "check metadata", "plan fma", "pack", "census")
STEMS = ("check musdb", "unpack musdb", "detect activity")


@dataclass
class Sequence(Runner[Mark]):
    """A runner that does each stage at once, and notes it if it was not done before."""

    home: Home
    worked: list[str] = field(default_factory=list)
    marks: dict[str, Mark] = field(default_factory=dict)
    units: dict[str, Mark] = field(default_factory=dict)

    def do(
        self, what: StageId, stage: Stage, config: Config, settings: Json, **inputs: Mark
    ) -> Mark:
        site = Site(self.home, stage.work(config, inputs).key, Silent(), settings)
        mark, cached = perform(site, stage, config, inputs)
        self.worked += [] if cached else [what.label]
        self.marks[what.label] = mark
        return mark

    def pack(self, config: FmaConfig, archive: str, plan: Mark) -> Mark:
        units = Units.of(self.home, plan, config)
        left = [name for name, found in units.look().items() if not found.mark]
        self.worked += ["pack"] if left else []
        units.pack(left, archive, Silent())
        self.units = {name: found.mark for name, found in units.look().items() if found.mark}
        return units.gather(self.units)


@dataclass(frozen=True)
class Place:
    """A home and the study in it."""

    home: Home
    config: MixitStudyConfig

    def look(self, part: str = "fma", deep: bool = False) -> dict[str, StageStatus]:
        dry_run = DryRun(self.home, deep)
        build_graph(dry_run, self.config, self.home, part)
        return {status.label: status for status in dry_run.statuses}

    def states(self, part: str = "fma") -> dict[str, str]:
        return {label: outlook.state for label, outlook in self.look(part).items()}

    def run(self, part: str = "fma") -> Sequence:
        runner = Sequence(self.home)
        build_graph(runner, self.config, self.home, part)
        return runner

    def but(self, *settings: str) -> "Place":
        return Place(self.home, self.config.override(settings))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> MixitStudyConfig:
    """The tiny study, its archives in place."""
    archives = tmp_path_factory.mktemp("archives")
    # Not under their published names, which promise published sums.
    synthesised.write_fma(archives).metadata.rename(archives / "metadata.zip")
    synthesised.write_musdb(archives)
    (archives / "musdb_tiny.zip").rename(archives / "musdb.zip")
    overrides = [
        "synthesis=null", f"data.root={archives}", "fma.archive=fma_tiny.zip",
        "fma.metadata=metadata.zip", "musdb.archive=musdb.zip", "fma.unit_tracks=3",
        "fma.error_budget=0.5",
    ]  # fmt: skip
    return RECIPES["smoke"]().override(overrides)


@pytest.fixture(scope="module")
def done(study: MixitStudyConfig, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A home in which the data side is done."""
    place = Place(Home(tmp_path_factory.mktemp("done")), study)
    place.run("fma")
    place.run("musdb")
    return place


@pytest.fixture
def empty(study: MixitStudyConfig, tmp_path: Path) -> Place:
    return Place(Home(tmp_path), study)


def test_an_empty_home_waits_for_its_archives(empty: Place) -> None:
    seen = empty.look("study")
    assert [label for label, outlook in seen.items() if outlook.state == "missing"] == [
        "check musdb",
        "check fma",
        "check metadata",
    ]
    assert {outlook.state for outlook in seen.values()} == {"missing", "waiting"}
    assert seen["pack"].why == "needs plan fma"
    assert seen["census"].why == "needs plan fma, pack"
    assert seen["plan fma"].why == "needs check fma, check metadata"
    assert seen["finetune"].why == "needs pretrain, select channels and 2 more"
    assert not list(empty.home.root.iterdir()), "looking leaves nothing behind"


def test_all_done(done: Place) -> None:
    assert done.states("fma") == dict.fromkeys(DATA, "done")
    assert done.states("musdb") == dict.fromkeys(STEMS, "done")
    for outlook in done.look("fma", deep=True).values():
        assert outlook.why == ""
        assert all(unit.state == "done" for unit in outlook.units)
    assert done.run("fma").worked == []
    states = done.states("study")
    assert states["pretrain"] == "missing"
    assert states["train from scratch"] == "missing"
    assert states["finetune"] == states["report"] == "waiting"


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lost=st.sets(st.sampled_from([*DATA, "0000", "0002"]), min_size=1))
def test_a_run_does_what_was_foreseen(done: Place, lost: set[str]) -> None:
    """Missing is done, done is not; what waits is done only if what it needs came out other."""
    with tempfile.TemporaryDirectory() as aside:
        line = done.run("fma")
        marks = line.marks | line.units
        for label in lost & marks.keys():
            mark = marks[label]
            path = done.home.mark(mark.stage, mark.key)
            path.rename(Path(aside) / path.name)
    foreseen = done.states()
    for label, state in foreseen.items():
        units = lost & line.units.keys()
        if label in lost and label != "pack":
            assert state in ("missing", "waiting")
        if label == "pack" and units and "plan fma" not in lost:
            assert state in ("missing", "waiting")
    worked = set(done.run("fma").worked)
    assert {label for label, state in foreseen.items() if state == "missing"} <= worked
    assert {label for label, state in foreseen.items() if state == "done"}.isdisjoint(worked)
    assert done.states() == dict.fromkeys(DATA, "done")


def test_a_failure_is_foreseen_with_its_reason_until_it_is_gone(done: Place) -> None:
    strict = done.but("fma.error_budget=0.1")
    assert strict.states()["census"] == "missing"
    with pytest.raises(DataError, match="3 of 9 tracks are quarantined"):
        strict.run()
    census = strict.look()["census"]
    assert census.state == "failed"
    assert "3 of 9 tracks are quarantined" in census.why
    assert done.states()["census"] == "done", "the other study's is another"


def test_a_stale_note_does_not_spoil_what_is_done(done: Place) -> None:
    """Killed between its mark and the end of its note, a stage is done."""
    mark = done.run().marks["census"]
    note = done.home.mark(mark.stage, mark.key).with_suffix(".failed")
    note.write_text('{"error": "of yesterday"}')
    census = done.look()["census"]
    assert (census.state, census.why) == ("done", "")
    note.unlink()


def test_missing_units_are_counted_and_named(done: Place) -> None:
    shard = next(iter(sorted(done.home.root.glob("fma/*/shards/*.tar"))))
    data, time = shard.read_bytes(), shard.stat()
    shard.unlink()
    pack = done.look()["pack"]
    assert pack.state == "missing"
    assert [unit.state for unit in pack.units].count("missing") == 1
    assert pack.why == f"{shard.relative_to(done.home.root)} is missing"
    assert done.states()["census"] == "waiting"
    line = done.run()
    assert line.worked == ["pack"], "the same bytes again: the census stays"
    assert shard.read_bytes() == data
    assert shard.stat().st_mtime_ns >= time.st_mtime_ns
    marks = [*line.marks.values(), *line.units.values()]
    assert not any(find_fault(done.home, mark, deep=True) for mark in marks)


def test_corpora_of_equal_settings_are_told_apart_by_their_plans(tmp_path: Path) -> None:
    """Scales of synthesised music differ by nothing else."""
    place = Place(Home(tmp_path), RECIPES["smoke"]().override(["synthesis.tracks=2"]))
    scales = [{"name": "s", "settings": ["synthesis.tracks=1"]}, {"name": "l"}]
    place = place.but(f"tables.scales={json.dumps(scales)}")
    seen = place.look("table3")
    assert seen["census s"].why == "needs plan fma s, pack"
    dry_run = DryRun(place.home)
    build_graph(dry_run, place.config, place.home, "table3")
    assert [one.why for one in dry_run.statuses if isinstance(one.id, PackId)] == [
        "needs plan fma s",
        "needs plan fma l",
    ]


def test_an_archive_that_is_not_there(empty: Place, tmp_path: Path) -> None:
    astray = empty.but(f"data.root={tmp_path}/nowhere")
    seen = astray.look("study")
    lacking = {label: outlook.lacks for label, outlook in seen.items() if outlook.lacks}
    assert lacking.keys() == {"check musdb", "check fma", "check metadata"}
    assert f"archive {tmp_path}/nowhere/fma_tiny.zip is missing" in lacking["check fma"]
    assert not any(outlook.lacks for outlook in empty.look("study").values())
    with pytest.raises((StemworksError, OSError)):
        astray.run()

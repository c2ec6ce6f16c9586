"""FMA-full as a list: its tracks planned, dealt out, looked up again and counted, then four times.

Each step runs in a process of its own, so that its peak memory is its own too. Marks, ledgers and
files are true; only the music is missing: a shard is an empty file.
"""

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from flows.stage_id import StageId
from flows.stages import data
from flows.stages.archives import CHECK
from flows.stages.stage import Site, Stage, perform
from flows.stages.units import Units, batched
from flows.studies.mixit.config import MixitStudyConfig
from flows.studies.mixit.graph import build_graph
from flows.studies.mixit.recipes import RECIPES
from flows.studies.runner import DryRun, Runner
from pipelines.config import FmaConfig
from pipelines.tracks.plan import make_plan, write_plan
from storage.config import Config, Json, digest_of
from storage.home.layout import Home
from storage.home.marks import Mark, Output, commit
from storage.home.runs import Run
from storage.records import LedgerRow, Track, Unit, plain
from tests.benchmarks.benchmark import Benchmark
from tests.benchmarks.material import workplace
from tests.benchmarks.own_process import alone
from tests.benchmarks.report.form import Figure, Measurement

TRACKS, QUICK_TRACKS = 106_574, 2_000
"""Of FMA-full; of a quick run."""
GROWTH = (1, 4)
CLIPS = 54
"""Of a track of mean length."""
STEPS = {
    "plan": "plan and write it",
    "look": "rerun: look every unit up",
    "resume": "half the units lost: look up, deal out, read one batch",
    "census": "census",
}


def run(quick: bool) -> Measurement:
    """Measure each step at each size."""
    figures: list[Figure] = []
    tracks = QUICK_TRACKS if quick else TRACKS
    first: dict[str, float] = {}
    units = 0
    for growth in GROWTH:
        home = workplace() / f"scale-{growth}"
        for step, what in STEPS.items():
            done = alone(f"tests.benchmarks.scale:{step}", str(home), str(tracks * growth))
            told, case = done.answer, f"{tracks * growth:,} tracks"
            units = units or told["units"]
            cpu = told["cpu_seconds"]
            figures += [
                Figure(what=f"{what}: {kind}", case=case, unit=unit, values=(value,))
                for kind, unit, value in (
                    ("processor time", "s", cpu),
                    ("against the first size", "x", cpu / first.setdefault(step, cpu)),
                    ("passed", "s", told["seconds"]),
                    ("peak memory", "MB", done.peak_bytes / 1e6),
                )
            ]
        shutil.rmtree(home)
    return Measurement(amount=units, unit="units at the first size", figures=tuple(figures))


def settings(root: Path) -> list[str]:
    """Return what makes a recipe a study whose archives are there, and hold nothing."""
    archives = root / "given"
    archives.mkdir(parents=True, exist_ok=True)
    # No published names: those stand for published sizes.
    for name in ("made_up.zip", "made_up_metadata.zip"):
        if not (archives / name).exists():
            (archives / name).touch()
    given = ["fma.archive=made_up.zip", "fma.metadata=made_up_metadata.zip"]
    return [f"data.root={archives}", *given, "synthesis=null", "fma.unit_tracks=48"]


def study(root: Path) -> MixitStudyConfig:
    """Return that study."""
    return RECIPES["smoke"]().override(settings(root))


def track(number: int) -> Track:
    """Return a track as the archive lists it."""
    name = f"{number:06d}"
    return Track(
        id=name, member=f"fma_full/{name[:3]}/{name}.mp3", bytes=8_800_000, crc=number,
        offset=8_800_000 * number, packed_bytes=8_800_000, method=12,
        sha1=digest_of(number)[:40], artist=f"Artist {number // 10}", title=f"Song {number}",
        genre="Rock", licence="Attribution-NonCommercial-ShareAlike 3.0 International",
    )  # fmt: skip


@dataclass
class Clock:
    """Seconds that passed, and that this process worked, in what was timed."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @contextmanager
    def runs(self) -> Iterator[None]:
        started, worked = time.perf_counter(), time.process_time()
        yield
        self.seconds = time.perf_counter() - started
        self.cpu_seconds = time.process_time() - worked


@dataclass
class Builder(Runner[Mark]):
    """A runner to which archives count as checked, and units as packed, without being read."""

    home: Home
    tracks: int
    until: str
    clock: Clock = field(default_factory=Clock)
    """Of the step that is measured."""

    def do(
        self, what: StageId, stage: Stage, config: Config, settings: Json, **inputs: Mark
    ) -> Mark:
        """Do a stage, or write the mark that says it is done."""
        if stage is data.CENSUS:
            return self._timed(stage, config, inputs) if self.until == "census" else inputs["plan"]
        work = stage.work(config, inputs)
        folder = self.home.corpus("fma", work.key)
        if stage is data.PLAN and self.until == "plan":
            tracks = [track(number) for number in range(self.tracks)]
            with self.clock.runs():
                outline = write_plan(folder, make_plan(tracks, cast("FmaConfig", config)))
            facts = {"units": len(outline.units), "tracks": outline.tracks}
            outputs = {"plan.json": folder.plan, "units.jsonl": folder.units}
            return commit(self.home, work, outputs, facts, 0.0)
        if stage is CHECK:
            slip = self.home.archives / f"{work.key}.json"
            slip.parent.mkdir(parents=True, exist_ok=True)
            slip.write_text(what.label)
            return commit(self.home, work, {"archive.json": slip}, {}, 0.0)
        return perform(Site(self.home, work.key, _silent), stage, config, inputs).mark

    def pack(self, config: FmaConfig, archive: str, plan: Mark) -> Mark:
        """Leave what packing leaves, once; afterwards, sum it up."""
        units = Units.of(self.home, plan, config)
        if self.until == "plan":
            for planned, unit in units.stored().each():
                _fill(units, planned, unit)
            return plan
        done = {name: found.mark for name, found in units.look().items() if found.mark}
        return units.gather(done)

    def _timed(self, stage: Stage, config: Config, inputs: Mapping[str, Mark]) -> Mark:
        site = Site(self.home, stage.work(config, inputs).key, _silent)
        with self.clock.runs():
            return perform(site, stage, config, inputs).mark


class _Silent:
    def __call__(self, done: float, total: float, note: str = "") -> None: ...

    def log(self, message: str, level: int = 20) -> None: ...

    def waits(self, message: str) -> None: ...

    def attach(self, run: Run) -> None: ...


_silent = _Silent()


def _fill(units: Units, digest: str, unit: Unit) -> None:
    """Leave a unit's ledger, empty shard, sidecar and mark; not durably, which would take hours."""
    corpus = units.corpus
    rows = [
        LedgerRow(track=one.id, outcome="kept", sha1=one.sha1 or "", seconds=278.0, clips=CLIPS,
                  kept_seconds=275.0, decoder="libsndfile", sample_rate=44_100, channels=2)
        for one in unit.tracks
    ]  # fmt: skip
    text = "".join(row.model_dump_json() + "\n" for row in rows)
    shard = corpus.shard(unit.id, 0)
    files = {
        "ledger": (corpus.ledger(unit.id), text),
        "offsets-0000": (shard.with_suffix(".idx.json"), "[]"),
        "shard-0000": (shard, ""),
    }
    outputs = []
    for label, (path, content) in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        status = path.stat()
        outputs.append(
            Output(path=units.home.relative(path), label=label, bytes=status.st_size,
                   sha256=digest_of([digest, label]), version=str(status.st_mtime_ns))
        )  # fmt: skip
    work, clips = units.works[unit.id], CLIPS * len(rows)
    mark = Mark(
        stage=work.stage, version=work.version, key=work.key, config=work.config,
        inputs=dict(work.inputs), outputs=tuple(outputs), digest=digest_of(digest),
        facts={"tracks": len(rows), "kept": len(rows), "clips": clips, "hours": 3.67,
               "shards": [{"clips": clips, "samples": clips}]},
        seconds=30.0, built_by={"host": "bench"}, finished="2026-01-01T00:00:00Z",
    )  # fmt: skip
    path = units.home.mark(work.stage, work.key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plain(mark)))


def plan(root: str, tracks: str) -> Json:
    """Plan so many tracks in a home, and leave what packing them would."""
    return _build(root, tracks, "plan")


def census(root: str, tracks: str) -> Json:
    """Count what is packed."""
    return _build(root, tracks, "census")


def look(root: str, _: str) -> Json:
    """See that all is done."""
    clock, dry_run = Clock(), DryRun(Home(Path(root)))
    with clock.runs():
        build_graph(dry_run, study(Path(root)), dry_run.home, "fma")
    packing = next(one for one in dry_run.statuses if one.label == "pack")
    assert packing.state == "done", packing.why
    return {**vars(clock), "units": len(packing.units)}


def resume(root: str, _: str) -> Json:
    """Deal out what is left after every other unit was lost; put the units back."""
    home, config = Home(Path(root)), study(Path(root))
    dry_run = DryRun(home)
    build_graph(dry_run, config, home, "fma")
    seen = {status.label: status for status in dry_run.statuses}
    plan = seen["plan fma"].mark
    assert plan
    lost = [unit.work for unit in seen["pack"].units[::2] if unit.work]
    paths = [home.mark(work.stage, work.key) for work in lost]
    for path in paths:
        path.rename(path.with_suffix(".aside"))
    clock = Clock()
    with clock.runs():
        units = Units.of(home, plan, config.fma)
        left = [name for name, found in units.look().items() if not found.mark]
        batches = batched(left, config.fma)
        requests = units.requests(batches[0], "made_up.zip")
    assert len(left) == len(paths)
    assert [one.unit.id for one in requests] == batches[0]
    for path in paths:
        path.with_suffix(".aside").rename(path)
    return {**vars(clock), "units": len(units.works)}


def _build(root: str, tracks: str, until: str) -> Json:
    home, config = Home(Path(root)), study(Path(root))
    runner = Builder(home, int(tracks), until)
    build_graph(runner, config, home, "fma")
    units = -(-int(tracks) // config.fma.unit_tracks)
    return {**vars(runner.clock), "units": units}


BENCHMARK = Benchmark(
    name="scale",
    title="Scale",
    words=f"""\
Made-up plans of FMA-full's {TRACKS:,} tracks, and of several times as many, without audio. Each
step runs once, in a process of its own: its peak memory is that process's own, or that of the
largest child it waits for, with the interpreter and its libraries.""",
    omitted="packing itself; more than one machine; homes in buckets.",
    run=run,
)

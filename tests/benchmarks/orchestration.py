"""What Prefect costs: a task of no work, a start, a rerun, a page; on either database.

The run that is watched is `run fma` as a person gives it, of a made-up plan of FMA-full's size:
only `Units.pack` is replaced, by one that finds its units done.

`python -m tests.benchmarks.orchestration TOLD WORDS...` is that run, in a process of its own.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil
import pytest

from flows.server.settings import ServerSettings
from flows.studies.estimates import PACK_SECONDS_PER_MB, archive_bytes
from pipelines.workers.fan_out import cores
from storage.files import read_json
from tests.benchmarks import scale
from tests.benchmarks.benchmark import Benchmark
from tests.benchmarks.browser import Loaded, browser
from tests.benchmarks.material import workplace
from tests.benchmarks.own_process import alone
from tests.benchmarks.report.form import Figure, Measurement, Target
from tests.benchmarks.servers import Served, on_postgres, sqlite
from tests.flows.conftest import Works
from tests.gameday.ground import Ground, ground

UNIT_TRACKS = 48
UNITS, QUICK_UNITS = 3000, 100
"""More than FMA-full has; of a quick run."""
RERUNS = 3
DIGEST_SECONDS = 120.0
"""For a server to have digested all that a run told it."""
MEGABYTE = 1e6


class Crowd(NamedTuple):
    """What the run of many units took on one server."""

    tasks: int
    beside: float
    """Seconds a task took beside its packing, tasks one after the other."""
    digested: float
    """Seconds after the run's end until the server had all of it."""
    grown: float
    """Bytes of database a task."""
    flow: float
    server: float
    """Processor seconds of the flow's process and of the server a task."""
    page: Loaded | None


def run(quick: bool) -> Measurement:
    """Measure all of it."""
    folder, units = workplace(), QUICK_UNITS if quick else UNITS
    home = made_up(folder / "made-up", units)
    remarks: list[str] = []
    with sqlite(folder / "sqlite") as served:
        crowds = {served.kind: crowd(home, served)}
        detached = processor(served.pid)
    try:
        with on_postgres(folder / "postgres") as served:
            crowds[served.kind] = crowd(home, served)
    except pytest.skip.Exception as missing:
        remarks.append(f"PostgreSQL: not run: {missing.msg}")
    with ground(folder / "study", "smoke") as here:
        # The first server ends with the cold start.
        detached += processor(server_of(here))
        cold, *warm = [started(here, cold=n == 0) for n in range(1 + (1 if quick else RERUNS))]
        detached += processor(server_of(here))
    if not all(one.page for one in crowds.values()):
        remarks.append("the run's page: not loaded, as there is no Chromium")
    first = tuple(one.first for one in warm)
    starts = (
        ("from the command to the first task, server to be started", (cold.first,)),
        ("from the command to the first task", first),
        ("a finished study run again, in all", tuple(one.whole for one in warm)),
    )
    figures = [
        *(one for kind, crowd in crowds.items() for one in told(kind, crowd, units)),
        *(Figure(what=what, unit="s", values=values) for what, values in starts),
        *share(crowds["SQLite"], median(first)),
    ]
    unit = "units in the watched run"
    return Measurement(
        amount=units,
        unit=unit,
        figures=tuple(figures),
        detached_seconds=detached,
        remarks=tuple(remarks),
    )


def told(kind: str, one: Crowd, units: int) -> Iterator[Figure]:
    """Yield what the run of many units took on one kind of database."""
    beside = 1000 * one.beside
    rows: list[tuple[str, str, float | None]] = [
        ("packing tasks", "", one.tasks),
        ("between one packing task's work and the next one's, mean", "ms", beside),
        ("the same a unit", "ms", beside * one.tasks / units),
        ("processor time a task, the flow's process", "ms", 1000 * one.flow),
        ("processor time a task, the server", "ms", 1000 * one.server),
        ("server behind the flow at the run's end", "s", one.digested),
        ("database a task", "kB", one.grown / 1000),
    ]
    if one.page:
        rows += [
            ("page of that run in a browser: numbers there", "s", one.page.told),
            ("page of that run in a browser: graph drawn", "s", one.page.drawn),
        ]
    for what, unit, value in rows:
        if value is not None:
            yield Figure(what=what, case=kind, unit=unit, values=(float(value),))


def share(one: Crowd, start: float) -> Iterator[Figure]:
    """Yield what orchestration adds to packing FMA-large on this machine."""
    packing = archive_bytes("fma_large.zip") / MEGABYTE * PACK_SECONDS_PER_MB / cores()
    # Both work beside the packers, on cores that they would use.
    busy = (one.flow + one.server) / cores()
    added = start + one.tasks * (one.beside + busy) + one.digested
    what = f"packing FMA-large on {cores()} cores, estimated"
    yield Figure(what=f"{what}: the work itself", unit="s", values=(packing,))
    yield Figure(what=f"{what}: orchestration beside it", unit="s", values=(added,))
    yield Figure(what=f"{what}: orchestration's share", unit="%", values=(100 * added / packing,),
                 target=Target(at_most=2))  # fmt: skip


def made_up(home: Path, units: int) -> Path:
    """Plan many units, all packed."""
    alone("tests.benchmarks.scale:plan", str(home), str(units * UNIT_TRACKS))
    return home


def crowd(home: Path, served: Served) -> Crowd:
    """Run many units of no work under a server, and look at its page."""
    for mark in (home / "marks/pack").glob("*.json"):
        mark.rename(mark.with_suffix(".aside"))
    told = home.with_name(f"{served.kind}.json")
    size, worked = served.size(), processor(served.pid)
    # The plan stands for more music than this disk holds: nothing of it is written.
    overrides = [*scale.settings(home), "limits.short_of_disk=begin"]
    settings = [word for one in overrides for word in ("--set", one)]
    order = ["run", "fma", "--recipe", "smoke", "--home", str(home), *settings]
    words = ["-m", "tests.benchmarks.orchestration", str(told), *order]
    done = subprocess.run(
        [sys.executable, *words],
        env=served.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    ended = time.monotonic()
    known = json.loads(told.read_text())
    spans = sorted(known["spans"])
    run = served.works.last_run()
    while counted(served.works, run["id"]) < len(spans):
        if time.monotonic() - ended > DIGEST_SECONDS:
            raise RuntimeError(f"{served.kind}: the server does not know all tasks of {run['id']}")
        time.sleep(0.2)
    digested = time.monotonic() - ended
    # From the end of one task's packing to the beginning of the next one's.
    beside = [begun - over for (_, over), (begun, _) in pairwise(spans)]
    return Crowd(
        tasks=len(spans),
        beside=sum(beside) / len(beside),
        digested=digested,
        grown=(served.size() - size) / len(spans),
        flow=known["worked"] / len(spans),
        server=(processor(served.pid) - worked) / len(spans),
        page=looked_at(served.works, run["id"]),
    )


def counted(works: Works, run: str) -> int:
    """Return how many packing tasks of a run the server knows to be completed."""
    asked = {
        "flow_runs": {"id": {"any_": [run]}},
        "task_runs": {
            "state": {"type": {"any_": ["COMPLETED"]}}, "tags": {"all_": ["packing"]},
        },
    }  # fmt: skip
    return int(works.api("task_runs/count", asked))


def looked_at(works: Works, run: str) -> Loaded | None:
    """Load a run's page, a second time after its scripts are in the browser's cache."""
    url = f"http://127.0.0.1:{works.port}/v2/flow-runs/flow-run/{run}"
    with browser() as tab:
        if tab is None:
            return None
        tab.load(url)
        return tab.load(url)


def processor(pid: int) -> float:
    """Return the processor time of a process so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def server_of(here: Ground) -> int:
    """Return the process of the server that a study's commands use."""
    place = ServerSettings(here.root / "state", "127.0.0.1", here.works.port)
    return int(read_json(place.record)["pid"])


class Started(NamedTuple):
    """Seconds from the command to the first task, and to the end."""

    first: float
    whole: float


def started(here: Ground, cold: bool) -> Started:
    """Run a finished study again."""
    if cold:
        here.command("down")
    begun = time.time()
    here.command(*here.words("run", "study"), "--home", str(here.undisturbed))
    whole = time.time() - begun
    run = here.works.last_run()["id"]
    here.works.states(run)
    rows = here.works.api("task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
    times = [datetime.fromisoformat(one["start_time"]) for one in rows if one["start_time"]]
    return Started(min(times).timestamp() - begun, whole)


def watched(told: Path, words: list[str]) -> int:
    """Be the run of many units: say when each task packed."""
    from flows.__main__ import perform  # noqa: PLC0415
    from flows.stages import units  # noqa: PLC0415
    from storage.home import marks  # noqa: PLC0415

    spans: list[tuple[float, float]] = []
    worked: list[float] = []

    def pack(units: units.Units, wanted: list[str], *_: object) -> Any:
        begun = time.perf_counter()
        done = {}
        for name in wanted:
            work = units.works[name]
            path = units.home.mark(work.stage, work.key)
            path.with_suffix(".aside").rename(path)
            done[name] = marks.lookup(units.home, work).mark
        spans.append((begun, time.perf_counter()))
        worked.append(time.process_time())
        return done

    units.Units.pack = pack  # type: ignore[method-assign, assignment]
    if not (code := perform(words)):
        told.write_text(json.dumps({"spans": spans, "worked": max(worked) - min(worked)}))
    return code


BENCHMARK = Benchmark(
    name="orchestration",
    title="Orchestration",
    words=f"""\
What Prefect costs. The watched run is `run fma` of a made-up plan of {UNITS:,} units, more than
FMA-full has, in which only the packing itself is replaced, by one that finds its unit done; the
starts are those of the recipe `smoke`, finished before. The share is that of orchestration in
packing FMA-large: the work itself is estimated at {PACK_SECONDS_PER_MB} core-seconds a megabyte of
MP3, the rate that `stemworks plan` takes; orchestration is as many tasks as the watched run's.""",
    omitted="""\
a server under the load of several studies; networks. How long recovery takes is measured by
`make gameday`.""",
    run=run,
)


if __name__ == "__main__":
    sys.exit(watched(Path(sys.argv[1]), sys.argv[2:]))

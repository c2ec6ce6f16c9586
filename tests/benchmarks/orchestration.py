"""What Prefect costs: a task of no work, a start, a rerun, a page, a loss; on either database.

The run that is watched is `run fma` as a person gives it, of a made-up plan of FMA-full's size:
only `Units.pack` is replaced, by one that finds its units done.

`python -m tests.benchmarks.orchestration TOLD WORDS...` is that run, in a process of its own.
"""

import json
import subprocess
import sys
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil
import pytest

from flows.studies.estimates import PACK_SECONDS_PER_MB, archive_bytes
from pipelines.workers.fan_out import cores
from tests.benchmarks import scale
from tests.benchmarks.browser import Loaded, browser
from tests.benchmarks.material import workplace
from tests.benchmarks.measure import Measured, Result
from tests.benchmarks.servers import Served, on_postgres, sqlite
from tests.flows.conftest import Works
from tests.gameday.faults import hold
from tests.gameday.ground import Ground, ground

UNIT_TRACKS = 48
UNITS = 3000
"""More than FMA-full has."""
LOSSES = ("worker", "Prefect server", "training child")
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


def run() -> Result:
    """Measure all of it."""
    notes: list[str] = []
    folder = workplace()
    home = made_up(folder / "made-up")
    with sqlite(folder / "sqlite") as served:
        crowds = {served.kind: crowd(home, served)}
    try:
        with on_postgres(folder / "postgres") as served:
            crowds[served.kind] = crowd(home, served)
    except pytest.skip.Exception as missing:
        notes.append(f"PostgreSQL: not run: {missing.msg}")
    ours = crowds["SQLite"].beside
    rows = [row(f"a packing task's own time, {kind}", ours, one.beside)
            for kind, one in crowds.items()]  # fmt: skip
    with ground(folder / "study", "smoke") as here:
        starts = [started(here, cold=number == 0) for number in range(RERUNS + 1)]
        losses = {fault: hold(here, fault) for fault in LOSSES}
    cold, *warm = starts
    rows += [
        row("start to first task, server to be started", ours, cold.first),
        row("start to first task", ours, *(one.first for one in warm)),
        row("rerun of a finished study", ours, *(one.whole for one in warm)),
    ]
    for fault, trial in losses.items():
        rows.append(row(f"kill -9 of the {fault}: to work", ours, trial.recovery_seconds))
        notes += [f"{fault}: FAULT {what}" for what in trial.faults]
    rows += [row(f"page of the run in a browser, {kind}: {what}", ours, seconds)
             for kind, one in crowds.items() if one.page
             for what, seconds in (("told", one.page.told), ("graph drawn", one.page.drawn))
             if seconds is not None]  # fmt: skip
    notes += [said(kind, one) for kind, one in crowds.items()]
    notes.append(share(crowds["SQLite"], median(one.first for one in warm)))
    title = "What orchestration costs (the last column: against the first row)"
    return Result(title, tuple(rows), UNITS, "units in the watched run", tuple(notes))


def row(name: str, ours: float, *seconds: float) -> Measured:
    """Return a row of the table."""
    return Measured(name, "other", seconds, median(seconds) / ours)


def said(kind: str, one: Crowd) -> str:
    """Return a note on the run of many units."""
    text = (
        f"{kind}: {UNITS:,} units in {one.tasks} tasks; {1000 * one.beside:.0f} ms a task, "
        f"{1000 * one.beside * one.tasks / UNITS:.1f} ms a unit; digested {one.digested:.1f} s "
        f"after the end; {one.grown / 1000:.0f} kB of database a task, and of processor time "
        f"{1000 * one.flow:.0f} ms of the flow's process and {1000 * one.server:.0f} ms of the "
        "server's"
    )
    lost = one.page and one.page.drawn is None
    return text + ("; the graph was NOT drawn" if lost else "")


def share(one: Crowd, start: float) -> str:
    """Say what orchestration adds to packing FMA-large on this machine."""
    packing = archive_bytes("fma_large.zip") / MEGABYTE * PACK_SECONDS_PER_MB / cores()
    # Both work beside the packers, on cores that they would use.
    busy = (one.flow + one.server) / cores()
    added = start + one.tasks * (one.beside + busy) + one.digested
    return (
        f"FMA-large: {added:.0f} s of orchestration beside {packing:.0f} s of packing on "
        f"{cores()} cores (at {PACK_SECONDS_PER_MB} core-seconds a MB): {added / packing:.2%} "
        "(target: below 2 %)"
    )


def made_up(home: Path) -> Path:
    """Plan many units, all packed."""
    words = ["-m", "tests.benchmarks.scale", "plan", str(home), str(UNITS * UNIT_TRACKS)]
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return home


def crowd(home: Path, served: Served) -> Crowd:
    """Run many units of no work under a server, and look at its page."""
    for mark in (home / "marks/pack").glob("*.json"):
        mark.rename(mark.with_suffix(".aside"))
    told = home.with_name(f"{served.kind}.json")
    size, worked = served.size(), processor(served.pid)
    settings = [word for one in scale.settings(home) for word in ("--set", one)]
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
    code = perform(words)
    told.write_text(json.dumps({"spans": spans, "worked": max(worked) - min(worked)}))
    return code


if __name__ == "__main__":
    sys.exit(watched(Path(sys.argv[1]), sys.argv[2:]))

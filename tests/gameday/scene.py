"""One home in which one thing goes wrong: what is started there, what is seen, what comes of it."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from flows.stages.stage import forget
from storage.home.open import open_home
from tests.flows.conftest import Works
from tests.gameday.digests import differing, digests
from tests.gameday.ground import ROOT, Ground
from tests.gameday.victims import StuckError, processes

LIMIT_SECONDS = 1800.0
"""For whatever is waited for; a study that takes longer hangs."""
GONE_SECONDS = 90.0
"""Within which the children of what was killed must be gone."""
PATIENCE_SECONDS = 120.0
LOOK_SECONDS = 0.05
WORK = ("runs/*/metrics.jsonl", "fma/*/units/*.jsonl", "runs/*/result/scores.jsonl")
"""What grows in a home while work goes on."""


@dataclass
class Trial:
    """One row of the table; `faults` are violations."""

    fault: str
    struck: str = ""
    seen: list[str] = field(default_factory=list)
    resumed: str = ""
    recovery_seconds: float = 0.0
    """From the blow until work goes on again."""
    redone: list[str] = field(default_factory=list)
    same: bool = False
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


class Scene:
    """What happens in one home."""

    def __init__(self, ground: Ground, trial: Trial, url: str, works: Works | None = None) -> None:
        self.ground, self.trial, self.url = ground, trial, url
        self.works = works or ground.works
        # No scene waits for slots that runs of another one held when they were killed.
        self.environment = {"STEMWORKS_HOST": f"gameday {trial.fault}".replace(" ", "-")}
        self.run = ""
        """The flow run that was struck."""
        self._words = (ground.root / f"{trial.fault}.words").open("wb")
        self._began: list[subprocess.Popen[bytes]] = []
        self._struck_at = self._resumed_at = 0.0

    @property
    def folder(self) -> Path:
        """Where its files are on this machine."""
        return open_home(self.url).root

    def undo(self, *labels: str) -> None:
        """Undo stages, so that they are yet to do; the bytes of packed units stay behind."""
        order = self.ground.order(self.url)
        home = open_home(self.url)
        for status in [one for one in order.look() if one.label in labels]:
            if status.stage and status.work:
                forget(home, status.stage, status.work)
            for unit in status.units:
                for output in unit.mark.outputs if unit.mark else ():
                    home.remove(home.path(output.path))
                if unit.work:
                    home.remove(home.mark(unit.work.stage, unit.work.key))

    def study(self) -> "subprocess.Popen[bytes]":
        """Start the study, by the one command that also resumes it."""
        return self.start(*self.ground.words("run", "study"), "--home", self.url)

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a command."""
        process = subprocess.Popen(
            [sys.executable, "-m", "flows", *arguments],
            stdin=subprocess.DEVNULL, stdout=self._words, stderr=subprocess.STDOUT,
            env=self.ground.environment | self.environment, cwd=ROOT,
        )  # fmt: skip
        self._began.append(process)
        return process

    def wait_for(
        self, ready: Callable[[], Any], process: "subprocess.Popen[bytes] | None" = None
    ) -> Any:
        """Wait until something is so while a process lives; return what it is."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while not (answer := ready()):
            if process and process.poll() is not None:
                raise StuckError(f"ended with {process.returncode} too early: {self._last_word()}")
            if time.monotonic() > deadline:
                raise StuckError(f"nothing came within {LIMIT_SECONDS:.0f} s")
            time.sleep(LOOK_SECONDS)
        return answer

    def at_work(self) -> Path | None:
        """Return the run directory that is being trained in and has a checkpoint by now."""
        for folder in self.folder.glob("runs/train-*"):
            if not (folder / "result").exists() and any(folder.glob("checkpoints/step-*")):
                return folder
        return None

    def strike(self, where: str, blow: Callable[[], object]) -> None:
        """Do the harm, and remember which run it struck."""
        self.trial.struck = where
        self.run = self.runs()[0]["id"]
        blow()
        self._struck_at = time.monotonic()

    def saw_end(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait for the end of a struck command; keep its exit code and last word."""
        code = process.wait(LIMIT_SECONDS)
        said = self._last_word() if code > 0 else ""
        self.saw(f"exit {code}{': ' if said else ''}{said}")

    def saw(self, what: str) -> None:
        """Keep what an operator sees."""
        self.trial.seen.append(what)

    def resume(self, how: str) -> None:
        """Remember how the study is resumed from here on."""
        self.trial.resumed = how
        self._resumed_at = time.time()

    def goes_on(self) -> bool:
        """Say whether work was done since the study was resumed."""
        files = (path for pattern in WORK for path in self.folder.glob(pattern))
        return any(path.stat().st_mtime > self._resumed_at for path in files)

    def recovered(self) -> None:
        """Note that work goes on again."""
        self.trial.recovery_seconds = round(time.monotonic() - self._struck_at, 1)

    def finish(self, process: "subprocess.Popen[bytes]") -> None:
        """Follow a resumed command to its good end."""
        self.wait_for(lambda: self.goes_on() or process.poll() is not None)
        self.recovered()
        if process.wait(LIMIT_SECONDS):
            raise StuckError(f"ended with {process.returncode} again: {self._last_word()}")

    def again(self) -> None:
        """Resume by the same command, and follow it to its good end."""
        self.resume("the same command")
        self.finish(self.study())

    def ask(self, path: str, body: Any) -> Any:
        """Ask the Prefect server, which may be slow while it works through what it was told."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return self.works.api(path, body)
            except httpx.HTTPError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(1.0)

    def runs(self) -> list[dict[str, Any]]:
        """Return the flow runs in this home, the last one first."""
        asked = {"sort": "START_TIME_DESC", "limit": 50}
        rows = self.ask("flow_runs/filter", asked)
        return [row for row in rows if row["parameters"].get("home") == self.url]

    def state(self, run: str) -> str:
        """Return a flow run's state and message."""
        row = self.ask("flow_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})[0]
        message = row["state"]["message"] or ""
        return f"{row['state']['name']}{': ' if message else ''}{message}"

    def judge(self) -> None:
        """See what is left: states, digests, processes."""
        trial, reference = self.trial, self.ground.reference
        if self.run:
            state = self.state(self.run)
            name, _, words = state.partition(": ")
            why = words.partition("Error: ")[2]
            told = why and any(why in said for said in trial.seen)
            self.saw(f"run: {name if told else state}")
        runs = self.runs()
        states = self.works.states(runs[0]["id"])
        trial.redone = [name for name, state in states.items() if state != "Cached"]
        different = differing(reference, digests(self.url))
        trial.same = not different
        trial.faults += [f"{name} differs" for name in different]
        trial.faults += [
            f"run '{row['name']}' is left Running" for row in runs if row["state_type"] == "RUNNING"
        ]
        trial.faults += [
            f"task '{name}' is left Running" for name, state in states.items() if state == "Running"
        ]
        deadline = time.monotonic() + GONE_SECONDS
        ours = {process.pid for process in self._began}
        while left := set(processes(str(self.folder))) - ours:
            if time.monotonic() > deadline:
                trial.faults.append(f"processes {sorted(left)} are left over")
                break
            time.sleep(LOOK_SECONDS)

    def close(self) -> None:
        """End whatever it started and has not ended."""
        for process in self._began:
            if process.poll() is None:
                process.terminate()
        for process in self._began:
            try:
                process.wait(GONE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._words.close()

    def _last_word(self) -> str:
        lines = Path(self._words.name).read_text(errors="replace").splitlines()
        said = [line for line in lines if line.startswith("error: ")] or lines[-1:]
        return said[-1].removeprefix("error: ").replace(str(self.folder), "HOME") if said else ""

"""What hangs on the parent run in the UI while it goes: its card, census, scores, and alarms."""

import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from types import TracebackType
from typing import Self

import httpx
from prefect.logging import get_run_logger
from prefect.runtime import deployment, flow_run
from prefect.settings import PREFECT_UI_URL
from prefect.utilities.urls import url_for

from flows.engine.tasks import PrefectRunner
from flows.recovery import notifications
from flows.stages import quality_gate, report
from flows.ui import metrics, run_card
from flows.ui.artifacts import Artifact
from flows.ui.events import announce
from flows.ui.run_card import RunCard, Standings
from storage.errors import StemworksError
from storage.home.layout import Home
from storage.home.marks import Mark
from storage.home.runs import Run
from training.report.tables import ScoreTable

EVERY_SECONDS = 20.0
"""Between two looks at the board, or half of `limits.stall_minutes`, if that is less."""


class RunArtifacts:
    """Keeps the parent run's artifacts up to date, from the first minute to the run's end.

    It looks at the line's board now and then, in a thread of its own; whatever goes wrong in
    drawing is logged, and never the run's trouble.
    """

    def __init__(self, home: Home, part: str, study: str, line: PrefectRunner) -> None:
        self._home, self._study, self._line = home, study, line
        self._title = f"{part} {study}"
        self._card = Artifact("markdown", run_card.KEY, "The study on one page")
        self._census = Artifact("table", "census", "What became of every track")
        self._scores = Artifact("table", "scores", "Scores in dB")
        self._report = Artifact("markdown", "report", "Where the report is")
        self._told: set[str] = set()
        self._stalled: dict[str, float] = {}
        """Of stages that were told of: when they had shown their last sign of life."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=copy_context().run, args=[self._keep], daemon=True)

    def __enter__(self) -> Self:
        self._quietly(lambda: self._publish("running", ""))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        state: run_card.State = "failed" if error else "done"
        if error and not isinstance(error, Exception):
            state = "stopped"
        self._quietly(lambda: self._publish(state, str(error or "")))

    def _keep(self) -> None:
        # Whoever is soon to be told of a silence is not told at twice its length.
        seconds = min(EVERY_SECONDS, self._line.limits.stall_minutes * 60 / 2)
        while not self._over.wait(seconds):
            self._quietly(lambda: self._publish("running", ""))

    def _quietly(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (
            StemworksError,
            # A server whose database is away answers so.
            httpx.HTTPError,
            OSError,
            ValueError,
            KeyError,
            TypeError,
        ) as error:
            get_run_logger().warning("the run's card is not up to date: %r", error)

    def _publish(self, state: run_card.State, error: str) -> None:
        standings = self._line.board.standings()
        made = {label: one.mark for label, one in standings.items() if one.mark}
        judged = {label: mark for label, mark in made.items() if label.startswith("evaluate ")}
        scores = report.table_of(self._home, judged)
        page = next((str(one.facts["page"]) for one in made.values() if "page" in one.facts), "")
        self._card.show(
            RunCard(
                title=self._title,
                state=state,
                labels=list(self._line.futures),
                standings=standings,
                curves=self._curves(standings),
                scores=self._told_scores(scores, judged),
                links=self._links(page),
                error=error,
            ).markdown()
        )
        if facts := run_card.census_of(standings):
            self._census.show(run_card.census_rows(facts))
        if scores.rows:
            self._scores.show(scores.records())
        if page:
            self._report.show(run_card.report_link(self._home, page))
        self._tell(standings, made)
        metrics.keep(self._home, self._study, standings)

    def _curves(self, standings: Standings) -> dict[str, Run]:
        """Return the training jobs whose logs are here; a bucket's are fetched once."""
        runs = {}
        # In the study's order: standings are in that of their first sign of life.
        for label in (label for label in self._line.futures if label in standings):
            one = standings[label]
            run = one.run
            if run is None and one.mark and one.mark.stage == "train":
                run = Run(self._home.run("train", one.mark.key))
                if not run.metrics.is_file():
                    self._home.fetch(run.metrics)
            if run and run.metrics.is_file():
                runs[label] = run
        return runs

    def _told_scores(self, scores: ScoreTable, judged: dict[str, Mark]) -> str:
        if not scores.rows:
            return ""
        whole = "evaluate finetune" in judged
        gain = f"**{report.gain_of(self._home, judged)}**\n\n" if whole else ""
        return gain + scores.markdown()

    def _links(self, page: str) -> list[str]:
        links = [run_card.report_link(self._home, page)] if page else []
        links.append(f"Home: `{self._home.url}`")
        links.append(f"TensorBoard: `tensorboard --logdir {self._home.runs}`")
        if deployed := deployment.get_id():
            links.append(f"[Its deployment]({url_for('deployment', obj_id=deployed)})")
        links.append(f"[All deployments]({PREFECT_UI_URL.value()}/deployments)")
        return links

    def _tell(self, standings: Standings, made: dict[str, Mark]) -> None:
        """Tell of stages that stall, once each time, and of what the census and the gate found."""
        limit = self._line.limits.stall_minutes * 60
        for label, one in standings.items():
            silent = time.monotonic() - one.moved
            stalls = one.state == "running" and silent >= limit
            if stalls and self._stalled.get(label) != one.moved:
                self._stalled[label] = one.moved
                what = f"stage '{label}' has shown no sign of life for {silent / 60:.1f} minutes"
                get_run_logger().warning("%s", what)
                announce("stemworks.stage.stalled", label, {"minutes": silent / 60})
                page = flow_run.get_flow_run_ui_url() or ""
                notifications.notify("stalled", self._title, what, ui=page)
        for label in made.keys() - self._told:
            mark = made[label]
            self._told.add(label)
            if mark.stage == "census":
                lost = sum(mark.facts["quarantined"].values())
                counts = {"quarantined": lost, "tracks": mark.facts["tracks_in"]}
                announce("stemworks.quarantine.counted", label, counts)
            if mark.stage == quality_gate.GATE.name and mark.facts["faults"]:
                announce("stemworks.quality.warned", label, mark.facts)

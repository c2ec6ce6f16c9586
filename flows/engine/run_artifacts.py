"""What the parent run shows in the UI while it runs: its card, census, scores, and warnings."""

import threading
import time
from collections.abc import Callable, Mapping
from contextvars import copy_context
from types import TracebackType
from typing import NamedTuple, Self

import httpx
from prefect.logging import get_run_logger
from prefect.runtime import deployment, flow_run
from prefect.settings import PREFECT_UI_URL
from prefect.utilities.urls import url_for

from flows.engine.tasks import PrefectRunner
from flows.recovery import notifications
from flows.stage_id import Role, StageId
from flows.studies.study import Results, report_link
from flows.ui import metrics, run_card
from flows.ui.artifacts import Artifact
from flows.ui.events import announce
from flows.ui.run_card import RunCard, Standings
from storage.errors import StemworksError
from storage.home.layout import Home
from storage.home.marks import Mark
from storage.home.runs import Run
from storage.tally import Tally

EVERY_SECONDS = 20.0
"""Between two looks at the board, or half of `limits.stall_minutes`, if that is less."""


class Shown(NamedTuple):
    """The run whose artifacts these are."""

    home: Home
    part: str
    study: str
    """The name of its configuration."""
    results: Callable[[Mapping[StageId, Mark]], Results]
    """What the run comes to, by the stages that are done."""


class RunArtifacts:
    """Keeps the parent run's artifacts up to date, from its first minute to its end.

    A thread of its own looks at the board now and then; an error while drawing is logged, and
    never ends the run.
    """

    def __init__(self, shown: Shown, runner: PrefectRunner) -> None:
        self._shown, self._home, self._runner = shown, shown.home, runner
        self._title = f"{shown.part} {shown.study}"
        self._card = Artifact("markdown", run_card.KEY, "The run on one page")
        self._census = Artifact("table", "census", "What became of every track")
        self._scores = Artifact("table", "scores", "Scores in dB")
        self._report = Artifact("markdown", "report", "Where the report is")
        self._announced: set[StageId] = set()
        self._stalled: dict[StageId, float] = {}
        """When stages that were reported as stalled had last reported anything."""
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
        # A short limit must not be noticed only after twice its length.
        seconds = min(EVERY_SECONDS, self._runner.limits.stall_minutes * 60 / 2)
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
        standings = self._runner.board.standings()
        made = {what: one.mark for what, one in standings.items() if one.mark}
        results = self._shown.results(made)
        self._card.show(
            RunCard(
                title=self._title,
                state=state,
                stages=list(self._runner.futures),
                standings=standings,
                curves=self._curves(standings),
                scores=_scores_of(results),
                links=self._links(results.report),
                error=error,
            ).markdown()
        )
        if facts := run_card.census_of(standings):
            self._census.show(run_card.census_rows(facts))
        if results.scores.rows:
            self._scores.show(results.scores.records())
        if results.report:
            self._report.show(report_link(self._home, results.report))
        self._announce(standings)
        states = {what.label: one for what, one in standings.items()}
        metrics.keep(self._home, self._shown.study, states)

    def _curves(self, standings: Standings) -> dict[StageId, Run]:
        """Return the training jobs whose metrics are here; a bucket's are fetched once."""
        runs = {}
        # In the study's order: standings are in that of their beginning.
        for what in (what for what in self._runner.futures if what in standings):
            one = standings[what]
            run = one.run
            if run is None and one.mark and one.role is Role.TRAINING:
                run = Run(self._home.run("train", one.mark.key))
                if not run.metrics.is_file():
                    self._home.fetch(run.metrics)
            if run and run.metrics.is_file():
                runs[what] = run
        return runs

    def _links(self, page: str) -> list[str]:
        links = [report_link(self._home, page)] if page else []
        links.append(f"Home: `{self._home.url}`")
        links.append(f"TensorBoard: `tensorboard --logdir {self._home.runs}`")
        if deployed := deployment.get_id():
            links.append(f"[Its deployment]({url_for('deployment', obj_id=deployed)})")
        links.append(f"[All deployments]({PREFECT_UI_URL.value()}/deployments)")
        return links

    def _announce(self, standings: Standings) -> None:
        """Report stages that stall, once each time, and what the census and the gate found."""
        limit = self._runner.limits.stall_minutes * 60
        for what, one in standings.items():
            silent = time.monotonic() - one.moved
            stalls = one.state == "running" and silent >= limit
            if stalls and self._stalled.get(what) != one.moved:
                self._stalled[what] = one.moved
                self._report_stall(what, silent / 60)
            mark = one.mark
            if mark is None or what in self._announced:
                continue
            self._announced.add(what)
            if one.role is Role.CENSUS:
                failed = Tally.from_facts(mark.facts).failed
                counts = {"quarantined": failed, "tracks": mark.facts["tracks_in"]}
                announce("stemworks.quarantine.counted", what.label, counts)
            if one.role is Role.GATE and mark.facts["faults"]:
                announce("stemworks.quality.warned", what.label, mark.facts)

    def _report_stall(self, what: StageId, minutes: float) -> None:
        message = f"stage '{what.label}' has shown no sign of life for {minutes:.1f} minutes"
        get_run_logger().warning("%s", message)
        announce("stemworks.stage.stalled", what.label, {"minutes": minutes})
        page = flow_run.get_flow_run_ui_url() or ""
        notifications.notify("stalled", self._title, message, ui=page)


def _scores_of(results: Results) -> str:
    """Return the card's scores: the result in one sentence, and the table."""
    if not results.scores.rows:
        return ""
    headline = f"**{results.headline}**\n\n" if results.headline else ""
    return headline + results.scores.markdown()

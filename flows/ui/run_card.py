"""The run card: a run on one page of Markdown, from its first minute on, and when it fails."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from flows.stage_id import PackId, Role, StageId
from flows.ui import svg, training_page
from flows.ui.progress import StageProgress
from storage.config import Json
from storage.home.marks import Mark
from storage.home.runs import Run
from storage.tally import Tally
from training.report.formats import duration, hours_of, ranges

StagesProgress = Mapping[StageId, StageProgress]
State = Literal["running", "done", "failed", "stopped"]

KEY = "run-card"
"""The card's key among a run's artifacts."""
RUNNING = ": running"
RUNNING_ROW = re.compile(r"^(\| [^|]+ \|) running(, \d+%)? \|", re.MULTILINE)
"""The heading's end, and a stage's row, while they run."""
JOBS = ("train", "select-channels", "evaluate")
"""Stages whose seconds are a GPU's."""


@dataclass(frozen=True)
class RunCard:
    """What a card is drawn from."""

    title: str
    state: State
    stages: Sequence[StageId]
    """All that were submitted, in order."""
    progress: StagesProgress
    curves: Mapping[StageId, Run] = field(default_factory=dict)
    """Training jobs whose metrics are on this machine."""
    scores: str = ""
    links: Sequence[str] = ()
    error: str = ""

    def markdown(self) -> str:
        """Return the card."""
        parts = [
            f"## {self.title}: {self.state}",
            self._failures(),
            self._stages(),
            *(training_page.curve(one.label, run) for one, run in self.curves.items()),
            self._sound(),
            f"### Scores\n\n{self.scores}" if self.scores else "",
            "\n".join(["### Where things are\n", *(f"- {link}" for link in self.links)]),
        ]
        return "\n\n".join(part for part in parts if part)

    def _failures(self) -> str:
        failed = {what: one.note for what, one in self.progress.items() if one.state == "failed"}
        if self.state == "stopped":
            return "It was stopped; run it again to continue from here."
        if self.state != "failed":
            return ""
        whys = [f"- **{what.label}**: {_one_line(why)}" for what, why in failed.items()]
        whys = whys or [f"- {_one_line(self.error)}"]
        advice = "What else was done stays done: run again, and only the rest is done."
        return "\n".join(["### What failed, and why\n", *whys, "", advice])

    def _stages(self) -> str:
        rows = ["| stage | state | took | |", "| --- | --- | ---: | --- |"]
        batches = [what for what in self.stages if _packs(what, "batch")]
        for what in self.stages:
            if batches and what == batches[0]:
                rows.append(self._batches(batches))
            elif not (batches and isinstance(what, PackId)):
                rows.append(_row(what, self.progress.get(what)))
        hours = gpu_hours([one.mark for one in self.progress.values() if one.mark])
        spent = f"\n\nGPU jobs took {hours:.3g} GPU-hours, all attempts counted." if hours else ""
        return "### Stages\n\n" + "\n".join(rows) + spent

    def _batches(self, packs: Sequence[StageId]) -> str:
        """Return the state of packing as one row: it has up to hundreds of tasks."""
        known = [self.progress[what] for what in packs if what in self.progress]
        done = [one for one in known if one.mark]
        state = "failed" if any(one.state == "failed" for one in known) else "running"
        state = "done" if len(done) == len(packs) else state if known else "waiting"
        took = duration(sum(one.mark.seconds for one in done if one.mark))
        return f"| packing | {state} | {took} | {len(done)} of {len(packs)} tasks |"

    def _sound(self) -> str:
        facts = census_of(self.progress)
        if not facts:
            return ""
        lost = {reason: hours for reason, hours in facts.get("hours_lost", {}).items() if hours}
        heading = "### Sound" if "tracks_in" in facts else "### Sound, so far"
        tally = Tally.from_facts(facts)
        drops = [row for row in tally.rows() if row.outcome != "kept"]
        dropped = ", ".join(f"{row.number} {row.reason}" for row in drops) or "none"
        summary = (
            f"{facts.get('tracks_in', facts.get('tracks'))} tracks in, {tally.kept} kept, "
            f"{facts['clips']} clips, {facts['hours']:.2f} h. Dropped: {dropped}."
        )
        picture = svg.bars("Hours of music", {"kept": facts["hours"], **lost}, "h")
        measured = [
            svg.columns(one["words"], dict(zip(ranges(one["edges"]), one["hours"], strict=True)))
            for one in facts.get("measures", {}).values()
        ]
        return "\n\n".join(part for part in (heading, summary, picture, *measured) if part)


def closed(card: str, state: Literal["stopped", "crashed"], why: str) -> str:
    """Return the card of a process that has died; one that shows the run's end is left alone."""
    heading, _, rest = card.partition("\n")
    if not heading.endswith(RUNNING):
        return card
    stages = RUNNING_ROW.sub(rf"\1 {state}\2 |", rest)
    return f"{heading.removesuffix(RUNNING)}: {state}\n\n{_one_line(why)}\n{stages}"


def census_of(progress: StagesProgress) -> Json:
    """Return what became of the tracks; of those packed so far where there is no census yet."""
    done = [(what, one) for what, one in progress.items() if one.mark]
    censuses = [one.mark.facts for _, one in done if one.mark and one.role is Role.CENSUS]
    if censuses:
        return dict(censuses[-1])
    packed = [
        one.mark.facts
        for what, one in done
        if one.mark and (_packs(what, "batch") or _packs(what, "earlier"))
    ]
    if not packed:
        return {}
    names = ("tracks", "clips", "hours")
    sums = {name: sum(facts.get(name, 0) for facts in packed) for name in names}
    return sums | sum(map(Tally.from_facts, packed), Tally()).as_facts()


def census_rows(facts: Json) -> list[dict[str, Any]]:
    """Return what became of the tracks as a table's rows."""
    return [
        {
            "outcome": row.outcome,
            "reason": row.reason,
            "tracks": row.number,
            "hours": round(hours_of(facts, row.outcome, row.reason), 2),
        }
        for row in Tally.from_facts(facts).rows()
    ]


def gpu_hours(marks: Sequence[Mark]) -> float:
    """Return what GPU jobs took, attempts that were killed included, times their processes."""
    jobs = {mark.key: mark for mark in marks if mark.stage in JOBS}
    seconds = sum(mark.seconds * mark.facts.get("processes", 1) for mark in jobs.values())
    return float(seconds) / 3600


def _row(what: StageId, stage: StageProgress | None) -> str:
    if stage is None:
        return f"| {what.label} | waiting | | |"
    took = duration(stage.mark.seconds) if stage.mark else ""
    running = stage.state == "running"
    state = f"running, {stage.share:.0%}" if running else stage.state
    note = stage.note if running else ""
    return f"| {what.label} | {state} | {took} | {_one_line(note)[:80]} |"


def _packs(what: StageId, units: Literal["batch", "earlier"]) -> bool:
    return isinstance(what, PackId) and what.units == units


def _one_line(text: str) -> str:
    """Return text without Markdown: it may quote a name out of an archive of unknown origin."""
    plain = html.escape(text, quote=False)
    for sign in "|[":
        plain = plain.replace(sign, f"\\{sign}")
    return " ".join(plain.split())

"""What the command line shows: plans, states, the census, scores; tables, or JSON for machines."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from flows.cli import garbage_collection
from flows.config import StudyConfig
from flows.stage_id import Role, StageId
from flows.studies import claims
from flows.studies.estimates import Cost, cost_of, progress_of
from flows.studies.runner import DryRun, StageStatus
from storage.config import Json
from storage.errors import ConfigError, DataError, StemworksError
from storage.home import marks
from storage.home.layout import Home
from storage.home.marks import Mark
from storage.home.runs import Run
from storage.manifests import read_rows
from storage.records import SongScore
from training.report import score_table

COLOURS = {"done": "green", "failed": "red", "missing": "yellow", "waiting": "dim"}


class View:
    """Where results are shown, and whether to people or to machines."""

    def __init__(self, console: Console, as_json: bool) -> None:
        self.console = console
        self.as_json = as_json

    def show(self, value: Any, *shown: Table | str) -> None:
        """Print a value for machines, or what shows it to people."""
        if self.as_json:
            self.console.file.write(json.dumps(value, indent=2) + "\n")
            return
        for part in shown:
            self.console.print(part, soft_wrap=isinstance(part, str), highlight=False)


def table_of(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a titled table."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for header in headers:
        table.add_column(header)
    for row in rows:
        table.add_row(*row)
    return table


def show_plan(config: StudyConfig, home: Home, outlooks: list[StageStatus], view: View) -> None:
    """Show what a run would do: each stage's state, why, and what it still costs."""
    costs = [cost_of(home, outlook, outlook.archive) for outlook in outlooks]
    total = sum(costs, Cost())
    pairs = list(zip(outlooks, costs, strict=True))
    rows = [(outlook.label, _coloured(outlook.state), *_cost(cost)) for outlook, cost in pairs]
    rows.append(("[bold]in all", "", *_cost(total)))
    headers = ("stage", "state", "to read", "to write", "core-h", "GPU-h", "hours")
    value = {
        "study": config.name,
        "digest": config.digest(),
        "stages": [{**describe(outlook), **vars(cost)} for outlook, cost in pairs],
        "remaining": vars(total),
    }
    table = table_of(f"Plan of '{config.name}' in {home.url}", headers, rows)
    # That a stage waits for another is seen in the table; why else it is not done is said.
    whys = [f"{outlook.label}: {_why(outlook)}" for outlook in outlooks if _is_odd(outlook)]
    view.show(value, table, *dict.fromkeys(whys))


def describe(outlook: StageStatus) -> Json:
    """Return a stage's state as plain values."""
    packing = progress_of(outlook)
    units = vars(packing) if packing else {}
    return {"stage": outlook.label, "state": outlook.state, "why": _why(outlook), **units}


def show_status(home: Home, view: View) -> None:
    """Show how far each study of a home is, from its marks alone."""
    studies = _studies(home)
    value = {
        name: [describe(outlook) for outlook in outlooks] for name, outlooks in studies.items()
    }
    rows = [
        (name, outlook.label, _coloured(outlook.state), _why(outlook))
        for name, outlooks in studies.items()
        for outlook in outlooks
    ]
    headers = ("study", "stage", "state", "why")
    view.show(value, table_of(f"Studies in {home.url}", headers, rows))


def show_census(home: Home, study: str, view: View) -> None:
    """Show what became of every track."""
    census = json.loads(_census(home, study).path(home, "census.json").read_text())
    rows = [("kept", "", str(census["kept"]))]
    for outcome in ("filtered", "quarantined"):
        for reason, count in census[outcome].items():
            rows.append((outcome, reason, str(count)))
    rows.append(("[bold]in all", "", str(census["tracks_in"])))
    table = table_of("Census", ("outcome", "reason", "tracks"), rows)
    view.show(census, table, f"{census['clips']} clips of {census['hours']:.2f} hours")


def show_scores(directory: Path, view: View) -> None:
    """Show the scores of an evaluation's run directory."""
    run = Run(directory)
    if not run.scores.is_file():
        raise ConfigError(f"{directory} holds no scores; give a run directory of an evaluation")
    scores = read_rows(run.scores, SongScore)
    table = score_table([(directory.name, scores)], with_ends=True)
    view.show(
        [score.model_dump() for score in scores],
        table_of("Scores in dB", table.headers, table.rows),
    )


def retry(home: Home, reason: str, view: View) -> None:
    """Forget the units that hold tracks quarantined for a reason; the next run packs them again.

    Raises:
        ConfigError: no track is quarantined for this reason; lists the reasons there are.
    """
    found: dict[str, list[Mark]] = {}
    for mark in marks.all_marks(home):
        for quarantined in mark.facts.get("quarantined", {}) if mark.stage == "pack" else ():
            found.setdefault(quarantined, []).append(mark)
    if reason not in found:
        known = ", ".join(found) or "none"
        raise ConfigError(f"no track is quarantined for '{reason}'; the reasons here are: {known}")
    for mark in found[reason]:
        marks.forget(home, mark)
    units = len(found[reason])
    view.show(
        {"reason": reason, "units": units},
        f"{units} units will be packed again by the next run, for tracks with '{reason}'.",
    )


def verify(home: Home, deep: bool, view: View) -> None:
    """Check every finished stage's outputs.

    Raises:
        DataError: some are gone or altered; the next run makes them again.
    """
    every = list(marks.all_marks(home))
    checked = list(zip(every, marks.find_faults(home, every, deep), strict=True))
    faults = [(mark, fault) for mark, fault in checked if fault]
    size = sum(mark.size for mark, _ in checked)
    value = {
        "marks": len(checked),
        "bytes": size,
        "faults": [
            {"stage": mark.stage, "key": mark.key, "fault": fault} for mark, fault in faults
        ],
    }
    how = "read and compared" if deep else "compared by size and time"
    view.show(value, f"{len(checked)} marks, {size / 1e6:.1f} MB {how}: {len(faults)} at fault")
    if faults:
        lines = "; ".join(f"{mark.stage}: {fault}" for mark, fault in faults[:5])
        raise DataError(f"{lines}; run the study again to rebuild what is at fault")


def tidy(home: Home, agreed: bool, view: View) -> None:
    """Show what nothing in the home refers to, and delete it once that is agreed to."""
    studies = _studies(home)
    litter = garbage_collection.survey(home, studies.values())
    size = sum(piece.bytes for piece in litter)
    rows = [(piece.name, f"{piece.bytes / 1e6:.1f} MB", piece.why) for piece in litter]
    value = {"litter": [piece._asdict() for piece in litter], "bytes": size}
    if litter and not view.as_json:
        view.show(value, table_of("Nothing refers to", ("file", "size", "why"), rows))
        agreed = agreed or typer.confirm(f"Delete {len(litter)} files, {size / 1e6:.1f} MB?")
    freed = garbage_collection.sweep(home, litter, studies) if agreed else 0
    view.show({**value, "freed": freed}, f"{freed / 1e6:.1f} MB freed in {home.url}")


def show_outcome(outcome: Mapping[str, Any], view: View) -> None:
    """Show how a flow ended."""
    shown: list[Table | str] = []
    if outcome.get("scores"):
        scores = outcome["scores"]
        shown.append(table_of("Scores in dB", scores["headers"], scores["rows"]))
        shown.append(outcome["gain"])
        shown.append(f"Report:     {outcome['report']}")
    shown.append(f"Prefect UI: {outcome['ui']}")
    view.show(outcome, *shown)


def outlooks_of(home: Home) -> dict[str, list[StageStatus]]:
    """Return how far each study of a home is, and the tables that were run of it; may be none."""
    return {name: _outlooks(home, name) for name in claims.names(home)}


def _studies(home: Home) -> dict[str, list[StageStatus]]:
    studies = outlooks_of(home)
    if not studies:
        raise ConfigError(f"{home.url} holds no study; run one, or give another --home")
    return studies


def _outlooks(home: Home, name: str) -> list[StageStatus]:
    dry_run = DryRun(home)
    try:
        held = claims.read(home, name)
        for part in dict.fromkeys((held.study.whole, *held.parts)):
            held.study.build_graph(dry_run, held.config, home, part)
    except StemworksError as error:
        dry_run.statuses.append(StageStatus(StageId("archives"), "failed", str(error)))
    return dry_run.statuses


def _census(home: Home, study: str) -> Mark:
    studies = _studies(home)
    if study and study not in studies:
        raise ConfigError(f"{home.url} holds no study '{study}'; it has {', '.join(studies)}")
    found = {
        name: outlook.mark
        for name, outlooks in studies.items()
        for outlook in outlooks
        if outlook.stage
        and outlook.stage.role is Role.CENSUS
        and outlook.mark
        and study in ("", name)
    }
    if not found:
        raise ConfigError(f"{home.url} has no census yet; run the flow 'fma' or 'study' first")
    if len({mark.key for mark in found.values()}) > 1:
        raise ConfigError(f"{home.url} has several; choose one with --study: {', '.join(found)}")
    return next(iter(found.values()))


def _why(outlook: StageStatus) -> str:
    return "; ".join(filter(None, (_progress(outlook), outlook.lacks or outlook.why)))


def _progress(outlook: StageStatus) -> str:
    packing = progress_of(outlook)
    if packing is None:
        return ""
    said = f"{packing.units_done} of {packing.units} units"
    if packing.failed:
        said += f", {packing.failed} failed"
    if outlook.mark is None and packing.seconds_left is not None:
        rate, hours = packing.units_per_hour, packing.seconds_left / 3600
        said += f", {rate:.0f} units and {packing.bytes_per_hour / 1e9:.2f} GB an hour"
        said += f", {hours:.1f} hours left at that rate"
    return said


def _is_odd(outlook: StageStatus) -> bool:
    return outlook.state in ("missing", "failed") and bool(_why(outlook))


def _coloured(state: str) -> str:
    return f"[{COLOURS[state]}]{state}[/]"


def _cost(cost: Cost) -> tuple[str, ...]:
    sizes = [f"{size / 1e9:.2f} GB" if size else "" for size in (cost.size, cost.written)]
    hours = (cost.core_hours, cost.gpu_hours, cost.wall_hours)
    return (*sizes, *(f"{number:.2f}" if number else "" for number in hours))

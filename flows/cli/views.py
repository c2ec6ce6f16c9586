"""What is known of a home: plans, states, scores, faults, metrics."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from flows.cli.options import AsJson, Flow, HomeAt, MusicFrom, Recipe, Settings, all_settings
from flows.cli.output import View, stdout_view, table_of
from flows.cli.recover import report_crashes
from flows.config import StudyConfig
from flows.stage_id import StageId
from flows.studies import claims
from flows.studies.disk_space import disks, needs, shortage
from flows.studies.estimates import Cost, cost_of, progress_of
from flows.studies.request import RunRequest
from flows.studies.runner import DryRun, StageStatus
from storage.config import Json
from storage.errors import ConfigError, DataError, StemworksError
from storage.home import marks
from storage.home.layout import Home
from storage.home.open import open_existing, open_home
from storage.home.runs import Run
from storage.manifests import read_rows
from storage.records import SongScore
from training.report import score_table

app = typer.Typer()
COLOURS = {"done": "green", "failed": "red", "missing": "yellow", "waiting": "dim"}


@app.command()
def plan(
    flow: Flow,
    recipe: Recipe,
    settings: Settings = None,
    source: MusicFrom = "",
    home: HomeAt = "home",
    as_json: AsJson = False,
) -> None:
    """Show what a run would do and what it would cost. Does nothing."""
    request = RunRequest(flow, recipe, all_settings(settings, source), home)
    show_plan(request.config, open_home(home), request.look(), stdout_view(as_json))


def show_plan(config: StudyConfig, home: Home, statuses: list[StageStatus], view: View) -> None:
    """Show what a run would do: each stage's state, why, and what it still costs."""
    costs = [cost_of(home, status, status.archive) for status in statuses]
    total = sum(costs, Cost())
    pairs = list(zip(statuses, costs, strict=True))
    rows: list[tuple[str | Text, ...]] = [
        (status.label, _coloured(status.state), *_cost(cost)) for status, cost in pairs
    ]
    rows.append((Text("in all", "bold"), "", *_cost(total)))
    headers = ("stage", "state", "to read", "to write", "core-h", "GPU-h", "hours")
    value = {
        "study": config.name,
        "digest": config.digest(),
        "stages": [{**describe(status), **vars(cost)} for status, cost in pairs],
        "remaining": vars(total),
        "disks": [
            {**disk._asdict(), "lacking": disk.lacking} for disk in disks(needs(home, statuses))
        ],
    }
    table = table_of(f"Plan of '{config.name}' in {home.url}", headers, rows)
    # The table shows which stages wait for others; only other reasons need a line.
    reasons = [f"{status.label}: {_why(status)}" for status in statuses if _needs_a_line(status)]
    view.show(value, table, *dict.fromkeys(reasons), *_room(home, statuses, total))


def _room(home: Home, statuses: list[StageStatus], total: Cost) -> list[str]:
    """Say where there is no room for what is written."""
    lines = [text] if (text := shortage(needs(home, statuses))) else []
    if home.remote and total.written:
        size = f"{total.written / 1e9:,.2f} GB"
        lines.append(f"{home.url} must take about {size}; its quota cannot be asked for")
    return lines


def describe(status: StageStatus) -> Json:
    """Return a stage's state as plain values."""
    packing = progress_of(status)
    units = vars(packing) if packing else {}
    return {"stage": status.label, "state": status.state, "why": _why(status), **units}


@app.command(name="status")
def status_of_home(home: HomeAt = "home", as_json: AsJson = False) -> None:
    """Show how far each study of a home is. Tells of this machine's crashed runs, too."""
    report_crashes(start=False)
    show_status(open_existing(home), stdout_view(as_json))


def show_status(home: Home, view: View) -> None:
    """Show how far each study of a home is, from its marks alone."""
    studies = required_studies(home)
    value = {name: [describe(status) for status in statuses] for name, statuses in studies.items()}
    rows = [
        (name, status.label, _coloured(status.state), _why(status))
        for name, statuses in studies.items()
        for status in statuses
    ]
    headers = ("study", "stage", "state", "why")
    view.show(value, table_of(f"Studies in {home.url}", headers, rows))


@app.command()
def report(
    run_directory: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run directory: HOME/runs/evaluate-KEY.")
    ],
    as_json: AsJson = False,
) -> None:
    """Print the scores of an evaluation, in dB."""
    show_scores(run_directory, stdout_view(as_json))


def show_scores(directory: Path, view: View) -> None:
    """Show the scores of an evaluation's run directory."""
    run = Run(directory)
    if not run.scores.is_file():
        what = "holds no scores" if directory.is_dir() else "is no folder"
        raise ConfigError(f"{directory} {what}; give a run directory of an evaluation")
    scores = read_rows(run.scores, SongScore)
    table = score_table([("this model", scores)], with_ends=True)
    view.show(
        [score.model_dump() for score in scores],
        table_of(f"Scores of {directory.name} in dB", table.headers, table.rows),
    )


def show_outcome(outcome: Mapping[str, Any], view: View) -> None:
    """Show a flow's result."""
    shown: list[Any] = []
    if outcome.get("scores"):
        scores = outcome["scores"]
        shown.append(table_of("Scores in dB", scores["headers"], scores["rows"]))
        shown.append(outcome["gain"])
        shown.append(f"Report:     {outcome['report']}")
    shown.append(f"Prefect UI: {outcome['ui']}")
    view.show(outcome, *shown)


@app.command(name="verify")
def verify_home(
    home: HomeAt = "home",
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check every output of every finished stage. Exit code 3 if any is missing or altered."""
    verify(open_existing(home), deep, stdout_view(as_json))


def verify(home: Home, deep: bool, view: View) -> None:
    """Check every finished stage's outputs.

    Raises:
        ConfigError: there is none.
        DataError: some are missing or altered; the next run makes them again.
    """
    every = list(marks.all_marks(home))
    if not every:
        raise ConfigError(
            f"{home.url} holds no finished work to verify; run a study, or give another --home"
        )
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
        first = "; ".join(f"{mark.stage}: {fault}" for mark, fault in faults[:5])
        raise DataError(f"{first}; run the study again to rebuild what is at fault")


@app.command()
def metrics(
    home: HomeAt = "home",
    textfile: Annotated[Path | None, typer.Option(dir_okay=False, help="Write this file.")] = None,
) -> None:
    """Print a home's metrics for Prometheus. Work done, rates, errors, GPU-hours."""
    from flows.ui.metrics import Numbers, write  # it imports Prefect

    opened = open_existing(home)
    states = {
        (study, status.label): status.state
        for study, statuses in statuses_of(opened).items()
        for status in statuses
    }
    text = Numbers(opened).exposition(states)
    if textfile:
        write(textfile, text)
    else:
        typer.echo(text, nl=False)


def statuses_of(home: Home) -> dict[str, list[StageStatus]]:
    """Return every stage's state of each study in a home, its tables included; may be empty."""
    return {name: _statuses(home, name) for name in claims.names(home)}


def required_studies(home: Home) -> dict[str, list[StageStatus]]:
    """Return the same; raise `ConfigError` if the home holds no study."""
    studies = statuses_of(home)
    if not studies:
        raise ConfigError(f"{home.url} holds no study; run one, or give another --home")
    return studies


def _statuses(home: Home, name: str) -> list[StageStatus]:
    dry_run = DryRun(home)
    try:
        held = claims.read(home, name)
        for part in dict.fromkeys((held.study.whole, *held.parts)):
            held.study.build_graph(dry_run, held.config, home, part)
    except StemworksError as error:
        dry_run.statuses.append(StageStatus(StageId("archives"), "failed", str(error)))
    return dry_run.statuses


def _why(status: StageStatus) -> str:
    return "; ".join(filter(None, (_progress(status), status.lacks or status.why)))


def _progress(status: StageStatus) -> str:
    packing = progress_of(status)
    if packing is None:
        return ""
    text = f"{packing.units_done} of {packing.units} units"
    if packing.failed:
        text += f", {packing.failed} failed"
    if status.mark is None and packing.seconds_left is not None:
        rate, hours = packing.units_per_hour, packing.seconds_left / 3600
        text += f", {rate:.0f} units and {packing.bytes_per_hour / 1e9:.2f} GB an hour"
        text += f", {hours:.1f} hours left at that rate"
    return text


def _needs_a_line(status: StageStatus) -> bool:
    return status.state in ("missing", "failed") and bool(_why(status))


def _coloured(state: str) -> Text:
    return Text(state, COLOURS[state])


def _cost(cost: Cost) -> tuple[str, ...]:
    sizes = [f"{size / 1e9:.2f} GB" if size else "" for size in (cost.size, cost.written)]
    hours = (cost.core_hours, cost.gpu_hours, cost.wall_hours)
    return (*sizes, *(f"{number:.2f}" if number else "" for number in hours))

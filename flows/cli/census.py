"""`census`: what became of every track, the hours that each reason cost, what was measured."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table

from flows.cli.options import AsJson, HomeAt
from flows.cli.output import View, stdout_view, table_of
from flows.cli.views import required_studies
from flows.stage_id import Role
from storage.errors import ConfigError, hint
from storage.home.layout import Home
from storage.home.marks import Mark
from storage.home.open import open_existing
from storage.tally import Tally
from training.report.formats import hours_of, ranges

app = typer.Typer()
HEIGHTS = "▁▂▃▄▅▆▇█"
NOTHING = "·"
"""A range that no music is in."""


@app.command()
def census(
    home: HomeAt = "home",
    study: Annotated[str, typer.Option(help="Its name, where a home holds several.")] = "",
    as_json: AsJson = False,
) -> None:
    """Count the tracks kept, filtered and quarantined, by reason."""
    show_census(open_existing(home), study, stdout_view(as_json))


def show_census(home: Home, study: str, view: View) -> None:
    """Show how many tracks were kept, filtered and quarantined, and why; what was measured."""
    counts = json.loads(_census(home, study).path(home, "census.json").read_text())
    rows: list[tuple[str, ...]] = []
    for outcome, reason, number in Tally.from_facts(counts).rows():
        rows.append((outcome, reason, str(number), _hours(hours_of(counts, outcome, reason))))
    if unclipped := counts["hours_lost"].get("unclipped"):
        rows.append(("kept", "but in no clip", "", _hours(unclipped)))
    rows.append(("in all", "", str(counts["tracks_in"]), _hours(counts["hours_in"])))
    table = table_of("Census", ("outcome", "reason", "tracks", "hours"), rows)
    summary = f"{counts['clips']} clips of {counts['hours']:.2f} hours"
    view.show(counts, table, summary, *_measures(counts.get("measures", {})))


def _measures(found: Mapping[str, Any]) -> list[Table]:
    """Return the table of what was measured, a small histogram a line; none if nothing was."""
    rows = []
    for one in found.values():
        lowest, *_, highest = ranges(one["edges"])
        rows.append((one["words"], lowest, _columns(one["hours"]), highest))
    headers = ("measured", "from", "hours", "to")
    return [table_of("Hours of music decoded, by what was measured", headers, rows)] if rows else []


def _columns(hours: list[float]) -> str:
    """Return hours of neighbouring ranges as columns of text, the longest full."""
    most = max(hours)
    return "".join(
        HEIGHTS[min(int(one / most * len(HEIGHTS)), len(HEIGHTS) - 1)] if one else NOTHING
        for one in hours
    )


def _hours(hours: float) -> str:
    return f"{hours:.2f}"


def _census(home: Home, study: str) -> Mark:
    studies = required_studies(home)
    if study and study not in studies:
        known = hint(study, studies, "it has")
        raise ConfigError(f"{home.url} holds no study '{study}'; {known}")
    found = {
        name: status.mark
        for name, statuses in studies.items()
        for status in statuses
        if status.stage and status.stage.role is Role.CENSUS and status.mark and study in ("", name)
    }
    if not found:
        raise ConfigError(f"{home.url} has no census yet; run the flow 'fma' or 'study' first")
    if len({mark.key for mark in found.values()}) > 1:
        raise ConfigError(f"{home.url} has several; choose one with --study: {', '.join(found)}")
    return next(iter(found.values()))

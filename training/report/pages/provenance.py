"""What the study is based on: the archive's census, the channel map, the recipe, the stages."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from storage.config import Json
from storage.records import ChannelMap
from storage.tally import Tally
from training.report.figures.diagram import stage_diagram
from training.report.formats import duration, grouped, hours_of, ranges
from training.report.material import Lineage
from training.report.stems import shown
from training.report.templating import Column, missing, render

OUTCOMES = ("kept", "filtered", "quarantined")

MOST_FACTS = 6
"""Facts of a stage that its line in the table shows."""


class Share(NamedTuple):
    """How many tracks had one outcome, for one reason or for all."""

    outcome: str
    reason: str
    tracks: int
    share: float
    """In percent of all tracks."""
    hours: float = 0.0
    """Decoded of them; of kept ones, only what is kept."""


class Histogram(NamedTuple):
    """Hours of decoded music by what was measured of their tracks."""

    words: str
    lowest: str
    highest: str
    """The outer ranges in words."""
    columns: list[tuple[str, float]]
    """Each range's words and hours."""
    most: float
    """Hours of the longest column."""


def census(found: Mapping[str, Any] | None) -> Markup:
    """Return what became of the archive's tracks, by reason."""
    if found is None:
        return missing("The archive has not been counted yet.")
    tally = Tally.from_facts(found)
    rows = list(tally.rows())
    totals = {
        outcome: sum(row.number for row in rows if row.outcome == outcome) for outcome in OUTCOMES
    }
    tracks = _total(found.get("tracks_in")) or tally.total

    def share(outcome: str, reason: str, number: int) -> Share:
        hours = hours_of(found, outcome, reason)
        part = 100 * number / tracks if tracks else 0
        return Share(outcome, reason.replace("_", " "), number, part, hours)

    lines = [
        share(row.outcome, row.reason, row.number)
        for row in sorted(rows, key=lambda row: (OUTCOMES.index(row.outcome), -row.number))
    ]
    return render(
        "census.html",
        sums=_census_sums(totals, tracks),
        tiles=_census_tiles(found, tracks),
        slices=[share(outcome, "", totals[outcome]) for outcome in OUTCOMES],
        lines=lines,
        histograms=_histograms(found.get("measures", {})),
    )


def channels(found: ChannelMap | None) -> Markup:
    """Return the votes as a heat map, stems by outputs, the chosen outputs ringed."""
    if found is None:
        return missing("No channel map yet: no channels have been selected after pre-training.")
    rows = zip(shown(found.stems), found.channels, found.votes, strict=False)
    return render(
        "channels.html",
        outputs=max((len(votes) for votes in found.votes), default=0),
        chunks=found.chunks,
        rows=list(rows),
    )


def stages(lineage: Sequence[Lineage]) -> Markup:
    """Return what was made from what, as a drawing and as a table."""
    if not lineage:
        return missing("No stage of this study is done yet.")
    columns = [Column("Stage"), Column("Key"), Column("Digest"), Column("Took", True)]
    return render(
        "stages.html",
        diagram=stage_diagram(lineage),
        number=len(lineage),
        seconds=sum(stage.seconds for stage in lineage),
        columns=[*columns, Column("Facts")],
        rows=[_stage_row(stage) for stage in lineage],
        digest_columns=[Column(title) for title in ("Stage", "Key", "What", "Digest")],
        digests=_digests(lineage),
    )


def recipe(study: Json) -> Markup:
    """Return the full configuration, folded away."""
    if not study:
        return missing("No configuration was given.")
    return render("recipe.html", recipe=study)


def _stage_row(stage: Lineage) -> list[str]:
    took = duration(stage.seconds)
    return [stage.stage, stage.key[:12], stage.digest[:12], took, _facts(stage.facts)]


def _digests(lineage: Sequence[Lineage]) -> list[tuple[str, str, str, str]]:
    """Return every stage's key, and the SHA-256 of its inputs and of its outputs."""
    return [
        (stage.stage, stage.key, name, digest)
        for stage in lineage
        for name, digest in [*sorted(stage.inputs.items()), ("outputs", stage.digest)]
    ]


def _census_sums(totals: Mapping[str, int], tracks: int) -> str:
    sums = " + ".join(f"{grouped(totals[outcome])} {outcome}" for outcome in OUTCOMES)
    total = sum(totals.values())
    if total == tracks:
        return f"Every track is accounted for: {grouped(tracks)} in = {sums}."
    return f"The sums do not agree: {grouped(tracks)} in, but {sums} = {grouped(total)}."


def _histograms(found: Mapping[str, Any]) -> list[Histogram]:
    """Return what was measured, where there is any music of it."""
    histograms = []
    for one in found.values():
        columns = list(zip(ranges(one["edges"]), one["hours"], strict=True))
        most = max(one["hours"], default=0.0)
        if most > 0:
            (lowest, _), *_, (highest, _) = columns
            histograms.append(Histogram(one["words"], lowest, highest, columns, most))
    return histograms


def _census_tiles(found: Mapping[str, Any], tracks: int) -> list[tuple[str, str]]:
    """Return the large numbers, each with its label."""
    tiles = [(grouped(tracks), "tracks in")]
    if "clips" in found:
        tiles.append((grouped(_total(found["clips"])), "clips"))
    if isinstance(found.get("hours"), int | float):
        tiles.append((f"{found['hours']:,.2f}", "hours kept"))
    clips = found.get("tracks")
    if isinstance(clips, Mapping) and clips:
        middle = statistics.median(_total(number) for number in clips.values())
        tiles.append((f"{middle:g}", "clips per kept track (median)"))
    return tiles


def _facts(facts: Json) -> str:
    """Return a stage's facts in words, sorted: a mark that was read back has no other order."""
    shown = [
        f"{name.replace('_', ' ')} {_fact(value)}"
        for name, value in sorted(facts.items())
        if not isinstance(value, dict | list)
    ]
    return ", ".join(shown[:MOST_FACTS])


def _fact(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return grouped(value) if isinstance(value, int) else f"{value:.4g}"


def _total(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0

"""What the study rests on: the archive's census, the channel map, the recipe, the stages."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from storage.config import Json
from storage.records import ChannelMap
from training.report.diagram import stage_diagram
from training.report.markup import (
    Column,
    count,
    details,
    duration,
    escape,
    missing,
    paragraph,
    stem_colour,
    swatch,
    table,
    tree,
)
from training.report.material import Lineage

OUTCOMES = ("kept", "filtered", "quarantined")

MOST_FACTS = 4
"""Facts of a stage that its line in the table shows."""


def census(found: Mapping[str, Any] | None) -> str:
    """Return what became of the archive's tracks, by reason."""
    if found is None:
        return missing("The archive has not been counted yet.")
    reasons = {"kept": {"": _total(found.get("kept"))}}
    reasons |= {outcome: _reasons(found.get(outcome)) for outcome in OUTCOMES[1:]}
    totals = {outcome: sum(counts.values()) for outcome, counts in reasons.items()}
    tracks = _total(found.get("tracks_in")) or sum(totals.values())
    rows = [
        (outcome, reason, number)
        for outcome in OUTCOMES
        for reason, number in sorted(reasons[outcome].items(), key=lambda item: (-item[1], item[0]))
    ]
    lines = "".join(_census_line(*row, tracks) for row in rows)
    return (
        paragraph(_census_sums(totals, tracks), "note")
        + f'<div class="tiles">{_census_tiles(found, tracks)}</div>\n'
        + f'<div class="stack" role="img" aria-label="Kept, filtered and quarantined">'
        f"{''.join(_slice(outcome, totals[outcome], tracks) for outcome in OUTCOMES)}</div>\n"
        + '<div class="wide"><table class="census"><thead><tr><th scope="col">Outcome</th>'
        '<th scope="col">Reason</th><th scope="col" class="n">Tracks</th>'
        f'<th scope="col" class="bar">Share</th></tr></thead>\n<tbody>{lines}</tbody></table></div>'
    )


def channels(found: ChannelMap | None) -> str:
    """Return the votes as a heat map, stems by outputs, the chosen outputs ringed."""
    if found is None:
        return missing("No channel map yet: pre-training has not been followed by a selection.")
    outputs = max((len(votes) for votes in found.votes), default=0)
    explanation = (
        f"The pre-trained separator has {count(outputs, 'output')} and no idea of stems. For each "
        f"of {count(found.chunks, 'chunk')} of labelled music, the best assignment of outputs to "
        "stems casts one vote per stem. A cell holds the share of chunks that gave the stem this "
        "output; the ringed output of each row was kept and becomes that stem in fine-tuning."
    )
    head = "".join(f'<th scope="col">{number}</th>' for number in range(outputs))
    rows = "".join(
        _votes_row(stem, votes, chosen, found.chunks)
        for stem, votes, chosen in zip(found.stems, found.votes, found.channels, strict=False)
    )
    return (
        paragraph(explanation, "note")
        + '<div class="wide"><table class="votes"><thead><tr>'
        + f'<th scope="col">Stem</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>\n'
    )


def stages(lineage: Sequence[Lineage]) -> str:
    """Return what was made out of what, as a drawing and as a table."""
    if not lineage:
        return missing("No stage of this study is done yet.")
    rows = [
        (
            stage.stage,
            stage.key[:12],
            stage.digest[:12],
            duration(stage.seconds),
            _facts(stage.facts),
        )
        for stage in lineage
    ]
    columns = [
        Column("Stage"),
        Column("Key"),
        Column("Digest"),
        Column("Took", numeric=True),
        Column("Facts"),
    ]
    total = duration(sum(stage.seconds for stage in lineage))
    return (
        stage_diagram(lineage)
        + paragraph(
            f"{count(len(lineage), 'stage')}, {total} together. A stage is done again only when "
            "its key, made of its settings and of the digests of its inputs, changes.",
            "note",
        )
        + table(columns, rows, "stages-table")
        + details("Every digest in full", _digests(lineage))
    )


def recipe(study: Json) -> str:
    """Return the full configuration, folded away."""
    if not study:
        return missing("No configuration was given.")
    return details("Every setting of this study", f'<div class="recipe">{tree(study)}</div>')


def _digests(lineage: Sequence[Lineage]) -> str:
    """Return every stage's key, and the SHA-256 of what it was made of and of what it left."""
    rows = [
        (stage.stage, stage.key, name, digest)
        for stage in lineage
        for name, digest in [*sorted(stage.inputs.items()), ("left", stage.digest)]
    ]
    columns = [Column(title) for title in ("Stage", "Key", "What", "Digest")]
    return table(columns, rows, "digests")


def _census_sums(totals: Mapping[str, int], tracks: int) -> str:
    sums = " + ".join(f"{totals[outcome]:,} {outcome}" for outcome in OUTCOMES)
    if sum(totals.values()) == tracks:
        return f"Every track is accounted for: {tracks:,} in = {sums}."
    return f"The sums do not close: {tracks:,} in, but {sums} = {sum(totals.values()):,}."


def _census_tiles(found: Mapping[str, Any], tracks: int) -> str:
    tiles = [(f"{tracks:,}", "tracks in")]
    if "clips" in found:
        tiles.append((f"{_total(found['clips']):,}", "clips"))
    if isinstance(found.get("hours"), int | float):
        tiles.append((f"{found['hours']:,.2f}", "hours kept"))
    clips = found.get("tracks")
    if isinstance(clips, Mapping) and clips:
        middle = statistics.median(_total(number) for number in clips.values())
        tiles.append((f"{middle:g}", "clips per kept track (median)"))
    return "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(label)}</span></div>'
        for value, label in tiles
    )


def _slice(outcome: str, number: int, tracks: int) -> str:
    share = 100 * number / tracks if tracks else 0
    label = f"{outcome} {number:,}" if share >= 12 else ""
    return (
        f'<span class="{outcome}" style="width:{share:.2f}%" '
        f'title="{outcome}: {number:,}">{label}</span>'
    )


def _census_line(outcome: str, reason: str, number: int, tracks: int) -> str:
    share = 100 * number / tracks if tracks else 0
    # Seven tenths of the cell are the scale; the rest is for the number.
    return (
        f"<tr><td>{outcome}</td><td>{escape(reason.replace('_', ' '))}</td>"
        f'<td class="n">{number:,}</td><td class="bar"><span class="{outcome}" '
        f'style="width:{0.7 * share:.2f}%"></span><em>{share:.1f} %</em></td></tr>\n'
    )


def _votes_row(stem: str, votes: Sequence[int], chosen: int, chunks: int) -> str:
    cells = []
    for output, number in enumerate(votes):
        share = 100 * number / chunks if chunks else 0
        kind = ' class="chosen"' if output == chosen else ""
        cells.append(
            f'<td{kind} title="{number:,} of {chunks:,} chunks" '
            f'style="--share:{share:.1f}%">{f"{share:.0f} %" if number else "·"}</td>'
        )
    return (
        f'<tr style="--stem:{stem_colour(stem)}"><th scope="row">{swatch(stem)}{escape(stem)}</th>'
        f"{''.join(cells)}</tr>\n"
    )


def _facts(facts: Json) -> str:
    shown = [
        f"{name.replace('_', ' ')} {f'{value:,}' if isinstance(value, int) else f'{value:.4g}'}"
        if isinstance(value, int | float) and not isinstance(value, bool)
        else f"{name.replace('_', ' ')} {value}"
        for name, value in facts.items()
        if not isinstance(value, dict | list)
    ]
    return ", ".join(shown[:MOST_FACTS])


def _reasons(value: Any) -> dict[str, int]:
    if isinstance(value, Mapping):
        return {str(reason): _total(number) for reason, number in value.items()}
    return {"": _total(value)} if value else {}


def _total(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0

"""The stages of a study as a drawing: what was made out of what."""

import math
import textwrap
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from training.report.markup import duration, escape
from training.report.material import Lineage

BOX_WIDTH, BOX_HEIGHT = 116, 64
NAME_LETTERS, NAME_LINES = 16, 3
"""Letters of a line of a stage's name, and lines of it, at most."""
LINE_HEIGHT = 14
GAP_ACROSS, GAP_DOWN = 20, 14
MARGIN = 2

MOST_STAGES = 40
"""Past that many boxes the drawing explains nothing; the table still does."""


class Edge(NamedTuple):
    """Stage `target` was made out of what stage `source` left."""

    source: int
    target: int


def stage_diagram(lineage: Sequence[Lineage]) -> str:
    """Return the stages as boxes in an inline SVG, inputs on the left; empty if there are none."""
    if not lineage or len(lineage) > MOST_STAGES:
        return ""
    edges = _edges(lineage)
    places = _places(len(lineage), edges)
    width = max(x for x, _ in places) + BOX_WIDTH + MARGIN
    height = max(y for _, y in places) + BOX_HEIGHT + MARGIN
    lines = "".join(_line(places[edge.source], places[edge.target]) for edge in edges)
    boxes = "".join(_box(stage, place) for stage, place in zip(lineage, places, strict=True))
    return (
        f'<div class="wide"><svg class="stages" role="img" aria-label="Stages of the study" '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}">{lines}{boxes}</svg>'
        "</div>\n"
    )


def _edges(lineage: Sequence[Lineage]) -> list[Edge]:
    makers = {stage.digest: number for number, stage in enumerate(lineage)}
    return sorted(
        {
            Edge(makers[digest], target)
            for target, stage in enumerate(lineage)
            for digest in stage.inputs.values()
            if makers.get(digest, target) < target
        }
    )


def _places(stages: int, edges: Sequence[Edge]) -> list[tuple[int, int]]:
    columns = _columns(stages, edges)
    rows = [0] * stages
    for column in range(max(columns) + 1):
        # Beside what a stage is made of, so that few lines cross; what begins here goes below.
        heights = {
            number: fmean(
                [rows[edge.source] for edge in edges if edge.target == number] or [math.inf]
            )
            for number in range(stages)
            if columns[number] == column
        }
        for row, number in enumerate(sorted(heights, key=heights.__getitem__)):
            rows[number] = row
    return [
        (MARGIN + column * (BOX_WIDTH + GAP_ACROSS), MARGIN + row * (BOX_HEIGHT + GAP_DOWN))
        for column, row in zip(columns, rows, strict=True)
    ]


def _columns(stages: int, edges: Sequence[Edge]) -> list[int]:
    if not edges:
        return list(range(stages))
    columns = [0] * stages
    # Edges run from earlier to later stages, so one pass in the order of targets is enough.
    for edge in sorted(edges, key=lambda edge: edge.target):
        columns[edge.target] = max(columns[edge.target], columns[edge.source] + 1)
    # Then each stage moves up to the first that needs it, for short lines.
    for source in reversed(range(stages)):
        needed = [columns[edge.target] for edge in edges if edge.source == source]
        if needed:
            columns[source] = min(needed) - 1
    return columns


def _line(source: tuple[int, int], target: tuple[int, int]) -> str:
    x0, y0 = source[0] + BOX_WIDTH, source[1] + BOX_HEIGHT // 2
    x1, y1 = target[0], target[1] + BOX_HEIGHT // 2
    bend = GAP_ACROSS // 2
    return f'<path class="edge" d="M{x0} {y0} C{x0 + bend} {y0} {x1 - bend} {y1} {x1} {y1}"/>'


def _box(stage: Lineage, place: tuple[int, int]) -> str:
    x, y = place
    middle = x + BOX_WIDTH // 2
    lines = textwrap.wrap(stage.stage, NAME_LETTERS, max_lines=NAME_LINES, placeholder=" …")
    top = y + BOX_HEIGHT // 2 - LINE_HEIGHT * len(lines) // 2 + 4
    name = "".join(
        f'<text x="{middle}" y="{top + number * LINE_HEIGHT}">{escape(line)}</text>'
        for number, line in enumerate(lines)
    )
    below = top + LINE_HEIGHT * len(lines)
    return (
        f"<g><title>{escape(stage.stage)}</title>"
        f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="7"/>{name}'
        f'<text class="soft" x="{middle}" y="{below}">{escape(duration(stage.seconds))}</text></g>'
    )

"""The stages of a study as a drawing: what was made from what."""

import math
import textwrap
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from markupsafe import Markup

from training.report.material import Lineage
from training.report.templating import render

BOX_WIDTH, BOX_HEIGHT = 116, 64
NAME_LETTERS, NAME_LINES = 16, 3
"""At most so many letters in a line of a stage's name, and so many lines."""
LINE_HEIGHT = 14
GAP_ACROSS, GAP_DOWN = 20, 14
MARGIN = 2

MOST_STAGES = 40
"""With more boxes the drawing explains nothing; the table still does."""


class Edge(NamedTuple):
    """Stage `target` was made from the outputs of stage `source`."""

    source: int
    target: int


class Box(NamedTuple):
    """One stage as it is drawn."""

    title: str
    x: int
    y: int
    name: list[tuple[str, int]]
    """Lines of the stage's name, each with the height of its baseline."""
    seconds: float
    below: int
    """Height of the baseline of what stands below the name."""

    @property
    def middle(self) -> int:
        """Where its texts are centred."""
        return self.x + BOX_WIDTH // 2


def stage_diagram(lineage: Sequence[Lineage]) -> Markup:
    """Return the stages as boxes in an inline SVG, inputs on the left; empty if there are none."""
    if not lineage or len(lineage) > MOST_STAGES:
        return Markup("")
    edges = _edges(lineage)
    corners = _corners(len(lineage), edges)
    return render(
        "diagram.svg",
        width=max(x for x, _ in corners) + BOX_WIDTH + MARGIN,
        height=max(y for _, y in corners) + BOX_HEIGHT + MARGIN,
        lines=[_line(corners[edge.source], corners[edge.target]) for edge in edges],
        boxes=[_box(stage, corner) for stage, corner in zip(lineage, corners, strict=True)],
        box_width=BOX_WIDTH,
        box_height=BOX_HEIGHT,
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


def _corners(stages: int, edges: Sequence[Edge]) -> list[tuple[int, int]]:
    columns = _columns(stages, edges)
    rows = [0] * stages
    for column in range(max(columns) + 1):
        # Beside a stage's inputs, so that few lines cross; stages without inputs go below.
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
    """Return the path from the right of one box to the left of another."""
    x0, y0 = source[0] + BOX_WIDTH, source[1] + BOX_HEIGHT // 2
    x1, y1 = target[0], target[1] + BOX_HEIGHT // 2
    bend = GAP_ACROSS // 2
    return f"M{x0} {y0} C{x0 + bend} {y0} {x1 - bend} {y1} {x1} {y1}"


def _box(stage: Lineage, corner: tuple[int, int]) -> Box:
    x, y = corner
    lines = textwrap.wrap(stage.stage, NAME_LETTERS, max_lines=NAME_LINES, placeholder=" …")
    top = y + BOX_HEIGHT // 2 - LINE_HEIGHT * len(lines) // 2 + 4
    name = [(text, top + number * LINE_HEIGHT) for number, text in enumerate(lines)]
    return Box(stage.stage, x, y, name, stage.seconds, top + LINE_HEIGHT * len(lines))

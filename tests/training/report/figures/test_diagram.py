"""The drawing of the stages: a box for each, a line for each input, left to right."""

import re

from training.report.figures.diagram import MOST_STAGES, stage_diagram
from training.report.material import Lineage


def stage(name: str, *made_from: str) -> Lineage:
    """Return a stage whose digest is its name."""
    inputs = {f"input {one}": one for one in made_from}
    return Lineage(stage=name, key=name, digest=name, seconds=75, facts={}, inputs=inputs)


DIAMOND = [stage("a"), stage("b", "a"), stage("c", "a"), stage("d", "b", "c", "elsewhere")]


def boxes(text: str) -> list[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in re.findall(r'<rect x="(\d+)" y="(\d+)"', text)]


def test_stages_stand_right_of_what_they_are_made_from() -> None:
    text = stage_diagram(DIAMOND)
    a, b, c, d = boxes(text)
    assert a[0] < b[0] == c[0] < d[0]
    assert b[1] != c[1]
    assert text.count('class="edge"') == 4, "what was made elsewhere has no line"
    assert text.count("1 min 15 s") == 4
    right, low = max(x for x, _ in boxes(text)), max(y for _, y in boxes(text))
    width, height = map(int, re.findall(r'viewBox="0 0 (\d+) (\d+)"', text)[0])
    assert right < width
    assert low < height


def test_names_are_wrapped_and_escaped() -> None:
    text = stage_diagram([stage("evaluate train from scratch seed 0 of many more words")])
    assert text.count("<text") == 3 + 1
    assert " …</text>" in text
    assert "<title>&lt;script&gt;</title>" in stage_diagram([stage("<script>")])


def test_nothing_is_drawn_where_it_would_explain_nothing() -> None:
    assert stage_diagram([]) == ""
    assert stage_diagram([stage(str(number)) for number in range(MOST_STAGES + 1)]) == ""

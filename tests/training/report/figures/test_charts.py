"""Charts: the page's colours and nothing else, for any stem and any name."""

import re

import pytest

from training.report.figures.charts import (
    Lane,
    Span,
    curve,
    shared_limits,
    smoothed,
    spans,
    strip,
)
from training.report.material import Losses
from training.report.stems import Stem, shown

NAME = '<b> & "c" $x$ $\\\\foo'
"""Markup, and dollar signs, between which matplotlib would read a formula."""


def test_smoothing_keeps_a_constant() -> None:
    assert smoothed([2.0] * 50) == pytest.approx([2.0] * 50)


STEMS = shown(["vocals", "bass", "drums", "other", "piano", "wind"])


@pytest.mark.parametrize("stem", STEMS, ids=lambda stem: stem.name)
def test_a_stem_is_drawn_in_its_own_colour(stem: Stem) -> None:
    lanes = [Lane("A", {"x": 1.0, "y": 2.0}), Lane("1/4", {"x": 0.5}, is_model=False)]
    text = strip(stem, lanes, shared_limits(lanes))
    assert [one.name for one in STEMS if one.colour in text] == [stem.name]
    assert not re.search("#0a0b[0-9a-f]{2}", text), "a colour that was to be replaced"


def test_names_are_text() -> None:
    text = spans([Span(NAME, 0.4, (0.1, 0.7), (0.3, 0.5)), Span("none", None, None, None)])
    assert '&lt;b&gt; &amp; "c" $x$ $\\\\foo' in text
    assert "<b>" not in text
    found = curve(NAME, Losses([(1, 2.0)], [(1, 3.0)], None))
    assert 'aria-label="Loss of &lt;b&gt; &amp; &#34;c&#34; $x$' in found


def test_the_same_values_give_the_same_bytes() -> None:
    losses = Losses([(step, -step / 10) for step in range(40)], [(20, -1.0)], 3.0)
    assert curve("run", losses) == curve("run", losses)

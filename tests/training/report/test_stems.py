"""Stems of any study: their order, labels and colours."""

import re
from importlib.resources import files

import pytest

from storage.records import STEMS, SongScore
from training.report.stems import EXTRA_COLOURS, STEM_COLUMNS, shown, stem_order

MOISES = (
    "bass", "bowed_strings", "drums", "guitar", "other", "other_keys", "other_plucked",
    "percussion", "piano", "vocals", "wind",
)  # fmt: skip


def scores(*stems: str) -> list[SongScore]:
    return [SongScore(song="x", stem=one, usdr=1, usdr_mdx21=None, csdr=None) for one in stems]


@pytest.mark.parametrize(
    ("found", "configured", "order"),
    [
        ((), (), STEM_COLUMNS),
        (("bass", "vocals"), (), STEM_COLUMNS),
        (STEMS, STEMS, STEM_COLUMNS),
        (("rest", "vocals"), (), ("vocals", "rest")),
        (("bass", "vocals"), ("vocals", "bass"), ("vocals", "bass")),
        (("bass",), ("rest", "bass"), ("bass", "rest")),
        (("b", "a", "b"), (), ("b", "a")),
    ],
)
def test_the_order_of_the_columns(
    found: tuple[str, ...], configured: tuple[str, ...], order: tuple[str, ...]
) -> None:
    assert stem_order(scores(*found), configured) == order


@pytest.mark.parametrize("stems", [STEMS, ("vocals", "rest"), MOISES])
def test_stems_are_told_apart_by_colour_and_label(stems: tuple[str, ...]) -> None:
    found = shown(stems)
    assert [stem.name for stem in found] == list(stems)
    assert len({stem.colour for stem in found}) == len({stem.label for stem in found}) == len(stems)
    assert all(re.fullmatch(r"[A-Z][a-z ]+", stem.label) for stem in found)


def test_more_stems_than_colours_take_turns() -> None:
    found = shown([f"stem {number}" for number in range(len(EXTRA_COLOURS) + 1)])
    assert found[0].colour == found[-1].colour
    assert len({stem.colour for stem in found}) == len(EXTRA_COLOURS)


def test_the_style_sheet_has_every_colour_in_both_schemes() -> None:
    css = files("training.report").joinpath("templates/page.css").read_text()
    names = [*STEM_COLUMNS, *(colour[6:-1] for colour in EXTRA_COLOURS)]
    for name in names:
        values = re.findall(rf"--{name}: (#[0-9a-f]{{6}});", css)
        assert len(values) == 2, name
        assert values[0] != values[1], name

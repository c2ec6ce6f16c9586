"""The stems that a report shows, whatever they are: their order, labels and colours."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from storage.records import SongScore

STEM_COLUMNS = ("vocals", "bass", "drums", "other")
"""The order in which papers print the four stems of MUSDB18."""

EXTRA_COLOURS = tuple(f"var(--stem-{number})" for number in range(1, 9))
"""For stems without a colour of their own, in turn."""


class Stem(NamedTuple):
    """One stem as a page shows it."""

    name: str
    """As scores and files have it."""
    label: str
    colour: str
    """A CSS colour: a variable of the page, which differs between light and dark."""


def stem_order(scores: Iterable[SongScore], configured: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the names of the stems in the order of a table's columns.

    Args:
        scores: of all models that a table holds.
        configured: the stems of the study, where they are known. Without them the stems are those
            of the scores: all four of MUSDB18 if there are no others, as a stem without scores
            is to show as missing there.
    """
    found = dict.fromkeys(configured or (score.stem for score in scores))
    if not configured and found.keys() <= set(STEM_COLUMNS):
        return STEM_COLUMNS
    known = [stem for stem in STEM_COLUMNS if stem in found]
    return (*known, *(stem for stem in found if stem not in STEM_COLUMNS))


def shown(names: Sequence[str]) -> tuple[Stem, ...]:
    """Return stems with labels and colours; the colours are distinct for up to twelve of them."""
    extra = [name for name in names if name not in STEM_COLUMNS]
    return tuple(Stem(name, label(name), _colour(name, extra)) for name in names)


def label(name: str) -> str:
    """Return a stem's name as a heading, `Lead vocals` for `lead_vocals`."""
    return name.replace("_", " ").capitalize()


def _colour(name: str, extra: Sequence[str]) -> str:
    if name in STEM_COLUMNS:
        return f"var(--{name})"
    return EXTRA_COLOURS[extra.index(name) % len(EXTRA_COLOURS)]

"""Licences of music: which one the published corpora of stems have, and what a list allows."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

PUBLISHED = {
    "musdb18hq": "Educational and non-commercial use only (MUSDB18-HQ)",
    "moisesdb": "Attribution-NonCommercial-ShareAlike 4.0 International (MoisesDB)",
}
"""Of songs with stems, by their source, as their publishers state them: MUSDB18-HQ's in Zenodo
record 3338373, MoisesDB's in the licence file of its package."""


def licence_of(source: str, stated: str) -> str:
    """Return the licence of songs with stems: the one that is stated, or that of their source.

    Empty: it is not known.
    """
    return stated or PUBLISHED.get(source, "")


def allows(patterns: Iterable[str], held: str) -> bool:
    """Say whether one of some shell patterns, such as `*Attribution*`, matches, whatever the case.

    No licence at all matches `*` alone.
    """
    return any(fnmatchcase(held.casefold(), pattern.casefold()) for pattern in patterns)

"""The nearest known name to one that is unknown: what a person most likely meant."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that a mistyped one most resembles; empty if none does.

    Capitals do not count, and the beginning of exactly one name stands for it.
    """
    names = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), names, n=1)
    begun = [one for one in names if name and one.startswith(name.lower())]
    if close or len(begun) == 1:
        return names[(close or begun)[0]]
    return ""


def hint(name: str, known: Iterable[str], they_are: str) -> str:
    """Return what to say of an unknown name: the nearest one, or all of them.

    `they_are` introduces them all: `the flows are`.
    """
    names = list(known)
    close = nearest(name, names)
    return f"did you mean '{close}'?" if close else f"{they_are} {', '.join(names) or 'none'}"

"""What a study leaves that must be the same whatever befell it: shards, weights, scores."""

import hashlib
import re

from storage.home.open import open_home

ROOMS = ("fma", "runs")
COUNTS = re.compile(
    r"fma/[^/]+/shards/[^/]+\.tar"
    r"|runs/[^/]+/result/(model/model\.safetensors|channels\.json|scores\.jsonl)"
)
"""Names in a home; reports, logs and marks have dates."""


def digests(url: str) -> dict[str, str]:
    """Return the sha256 of each, by its name in the home."""
    store = open_home(url).store
    names = [name for room in ROOMS for name in store.listing(room) if COUNTS.fullmatch(name)]
    return {name: hashlib.sha256(store.read(name)).hexdigest() for name in sorted(names)}


def differing(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return the names that are in one only, or stand for other bytes."""
    return sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )

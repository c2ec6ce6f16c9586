"""What a model's card says of the music that it was trained on, and of its licences."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from storage.config import Json
from storage.records import TrainedOn
from training.report.formats import count

NAMED = 6
"""Licences that a sentence names, the most frequent first; all are in the attribution."""
NONE_STATED = "none stated"
JUDGEMENT = (
    "What these licences permit for a model that was trained under them is for its user to judge."
)
UNLISTED = (
    "The tracks of {archive} are not listed: run the study again in its home, which only counts "
    "what it has packed, and export the model once more."
)
INVENTED = "The music was synthesised: its artists and licences are invented."
UNKNOWN = "which music that was trained on, and under which licences, is not known here"


class Music(NamedTuple):
    """One archive that a model was trained on."""

    use: str
    """Such as `pre-training`."""
    archive: str
    licences: dict[str, int]
    """Tracks by licence, the most frequent first."""


def music_of(rows: Iterable[TrainedOn]) -> list[Music]:
    """Return what tracks come down to: the licences of each archive, by its use."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        key = (row.use, row.source.partition(": ")[0])
        found.setdefault(key, Counter())[row.licence or NONE_STATED] += 1
    return [Music(*key, dict(licences.most_common())) for key, licences in found.items()]


def licences_of(study: Json, music: Sequence[Music], unlisted: Sequence[str] = ()) -> str:
    """Return a paragraph about the licences of all that a model was trained on.

    Args:
        study: the settings that made the model.
        music: as `music_of` returns it; may be empty.
        unlisted: archives that it was trained on, but whose tracks are not known.
    """
    sentences = [_sentence(one) for one in music]
    sentences += [UNLISTED.format(archive=archive) for archive in unlisted]
    if study.get("synthesis"):
        sentences.append(INVENTED)
    if "imported" in study:
        sentences.append(f"Imported from {study['imported'].get('name')}: {UNKNOWN}.")
    elif name := study.get("given", {}).get("imported_from"):
        sentences.append(f"It was made from the checkpoint {name}: {UNKNOWN}.")
    elif not sentences:
        sentences.append(
            "Which music it was trained on, and under which licences, is not known here."
        )
    return " ".join([*sentences, JUDGEMENT])


def _sentence(music: Music) -> str:
    named = [f"{name} ({number})" for name, number in [*music.licences.items()][:NAMED]]
    more = len(music.licences) - len(named)
    others = f"; and {more} more" if more else ""
    tracks = count(sum(music.licences.values()), "track")
    return (
        f"{music.use.capitalize()}: {tracks} of {music.archive}, by licence: {'; '.join(named)}"
        f"{others}."
    )
